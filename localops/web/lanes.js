// The layout of bars: events in lanes, and each lane in as many lines as it has concurrent events.

// Lines of one lane; further bars share the last one.
const MOST = { agent: 12, nesting: 80 };

/** Lay out events by agent: `{lines, lanes: [{label, from, to}]}`, each line in the order of the start. */
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

/** Lay out each event below its parent. */
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
      // The latest end of the bars so far, to find bars that begin before the view and reach into it.
      let far = -Infinity;
      const reach = Float64Array.from(events, (at) => (far = Math.max(far, run.end(at, now))));
      return { events: Int32Array.from(events), starts, reach };
    }),
  };
}

/** Return gaps without events, at least a fiftieth of the session long: [from, to] in microseconds. */
export function gaps(run, now) {
  const { order, first } = run.tree;
  const least = Math.max(1_000, (now - run.begin) / 50);
  const busy = new Set(["llm", "tool", "action"].map((kind) => run.kinds.indexOf(kind)));
  const result = [];
  let until = run.n ? run.start[order[0]] : 0;
  for (const at of order) {
    // An event that only contains others is busy while they are.
    if (first[at] >= 0 && !busy.has(run.kind[at])) continue;
    if (run.start[at] - until >= least) result.push([until, run.start[at]]);
    until = Math.max(until, run.end(at, now));
  }
  return result;
}

/** Return the first index in sorted numbers that is not below `value`. */
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
