// Where bars go: events into lanes, and each lane into as many lines as things happen at once.

const MOST = { agent: 12, nesting: 80 }; // lines of one lane; beyond, bars share the last

/** Lines of events, each in the order they began: `{lines: [Int32Array], lanes: [{label, from, to}]}`. */
export function byAgent(run, now) {
  const groups = new Map();
  for (const at of run.order) {
    const agent = run.agent[at];
    if (!groups.has(agent)) groups.set(agent, []);
    groups.get(agent).push(at);
  }
  const lines = [],
    lanes = [];
  for (const [agent, events] of groups) {
    const from = lines.length;
    lines.push(...pack(run, events, now, MOST.agent));
    lanes.push({ label: agent < 0 ? "no agent" : run.agents[agent], from, to: lines.length });
  }
  return finished(lines, lanes, run, now);
}

/** Each event somewhere below the one it happened in. */
export function byNesting(run, now) {
  const { walk, parent } = run.tree;
  const line = new Int32Array(run.n),
    until = [],
    lines = [];
  for (const at of walk) {
    let here = parent[at] < 0 ? 0 : Math.min(line[parent[at]] + 1, MOST.nesting - 1);
    while (here < MOST.nesting - 1 && until[here] > run.start[at]) here += 1;
    line[at] = here;
    while (lines.length <= here) {
      lines.push([]);
      until.push(-Infinity);
    }
    lines[here].push(at);
    until[here] = Math.max(until[here], run.end(at, now));
  }
  return finished(lines, [], run, now);
}

function pack(run, events, now, most) {
  const lines = [],
    until = [];
  for (const at of events) {
    let here = 0;
    while (here < lines.length && until[here] > run.start[at]) here += 1;
    if (here >= most) here = most - 1;
    if (here === lines.length) {
      lines.push([]);
      until.push(-Infinity);
    }
    lines[here].push(at);
    until[here] = Math.max(until[here], run.end(at, now));
  }
  return lines;
}

function finished(lines, lanes, run, now) {
  return {
    lanes,
    lines: lines.map((events) => {
      events.sort((a, b) => run.start[a] - run.start[b]);
      const starts = Float64Array.from(events, (at) => run.start[at]);
      // The furthest any bar reaches so far: to find those that began before the view and reach into it.
      let far = -Infinity;
      const reach = Float64Array.from(events, (at) => (far = Math.max(far, run.end(at, now))));
      return { events: Int32Array.from(events), starts, reach };
    }),
  };
}

/** Stretches in which nothing went on, of a fiftieth of the session or more: [from, to] in microseconds. */
export function gaps(run, now) {
  const { order, first } = run.tree;
  const least = Math.max(1_000, (now - run.begin) / 50);
  const busy = new Set(["llm", "tool", "action"].map((kind) => run.kinds.indexOf(kind)));
  const found = [];
  let until = run.n ? run.start[order[0]] : 0;
  for (const at of order) {
    if (first[at] >= 0 && !busy.has(run.kind[at])) continue; // what only has parts is as busy as they are
    if (run.start[at] - until >= least) found.push([until, run.start[at]]);
    until = Math.max(until, run.end(at, now));
  }
  return found;
}

/** The first place in sorted numbers that is not below `value`. */
export function place(numbers, value) {
  let low = 0,
    high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
