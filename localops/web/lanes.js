// The layout of bars: events in lanes, and each lane in as many lines as it has concurrent events.

// Lines of one lane; further bars share the last one.
const MOST = { agent: 12, name: 6, nesting: 80, process: 12 };
// Processes that have a line of their own above the events.
export const PROCESSES = 12;

/**
 * Lay out events `by` agent, name, process or nesting: `{lines, lanes: [{label, from, to}]}`.  Each line is in the
 * order of the start, and has the places of its events on the axis.  `bands` are the processes.
 */
export function layOut(run, now, by, axis, bands = []) {
  const lanes = [];
  let lines = [];
  if (by === "nesting") lines = nested(run, now);
  else {
    const groups = new Map(),
      process = by === "process" ? processOf(run, bands) : null;
    for (const at of run.order) {
      const key = process ? process[at] : by === "agent" ? run.agent[at] : `${run.kind[at]} ${run.nameOf(at)}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(at);
    }
    for (const events of groups.values()) {
      const from = lines.length,
        [first] = events;
      lines.push(...pack(run, events, now, MOST[by]));
      const label = process
        ? (bands[process[first]]?.label ?? "not known")
        : by === "agent"
          ? run.agentOf(first) || "no agent"
          : run.titleOf(first);
      lanes.push({ label, kind: by === "name" ? run.kindOf(first) : "", from, to: lines.length });
    }
  }
  const line = new Int32Array(run.n);
  lines.forEach((events, index) => events.forEach((at) => (line[at] = index)));
  return { lanes, lineOf: line, lines: lines.map((events) => placed(events, run, now, axis)) };
}

/**
 * Return the number of the process of each event: the one that a row names, else that of its parent, else the only
 * one that took part at that time; -1 where that is not known.
 */
function processOf(run, bands) {
  const { walk, parent } = run.tree,
    result = new Int16Array(run.n).fill(-1);
  const onlyAt = (time) => {
    const there = bands.filter(({ start, end }) => start <= time && time <= (end ?? Infinity));
    return there.length === 1 ? bands.indexOf(there[0]) : -1;
  };
  for (const at of walk) {
    const above = parent[at] < 0 ? -1 : result[parent[at]];
    result[at] = run.process[at] >= 0 ? run.process[at] : above >= 0 ? above : onlyAt(run.start[at]);
  }
  return result;
}

/** Each event below its parent. */
function nested(run, now) {
  const { walk, parent } = run.tree;
  const line = new Int32Array(run.n),
    lines = new Lines(run, now);
  for (const at of walk) {
    const below = parent[at] < 0 ? 0 : line[parent[at]] + 1;
    line[at] = lines.put(at, below, MOST.nesting);
  }
  return lines.events;
}

/** Put each event in the first line that has room for it. */
function pack(run, events, now, most) {
  const lines = new Lines(run, now);
  for (const at of events) lines.put(at, 0, most);
  return lines.events;
}

/** Lines of events that do not overlap, but for those in the last one. */
class Lines {
  constructor(run, now) {
    this.run = run;
    this.now = now;
    this.events = [];
    // Of each line: when its last event began, and until when it is occupied.
    this.began = [];
    this.until = [];
  }

  /** Put an event in the first free line from `from` on, of at most `most`; return the line. */
  put(at, from, most) {
    const { run, events, began, until } = this,
      start = run.start[at];
    let line = Math.min(from, most - 1);
    while (line < most - 1 && !this._isFree(line, start)) line += 1;
    while (events.length <= line) {
      events.push([]);
      began.push(-Infinity);
      until.push(-Infinity);
    }
    events[line].push(at);
    began[line] = Math.max(began[line], start);
    until[line] = Math.max(until[line], run.end(at, this.now));
    return line;
  }

  /** Return whether nothing in a line overlaps a start. An event without a duration occupies its start. */
  _isFree(line, start) {
    return line >= this.events.length || (this.until[line] <= start && this.began[line] !== start);
  }
}

function placed(events, run, now, axis) {
  events.sort((a, b) => run.start[a] - run.start[b]);
  const starts = Float64Array.from(events, (at) => axis.place(run.start[at]));
  // The latest end of the bars so far, to find bars that begin before the view and reach into it.
  let far = -Infinity;
  const reach = Float64Array.from(events, (at) => {
    // Events in progress have no end: they reach every later time.
    const end = run.took[at] < 0 && !run.pauseAfter(at) ? Infinity : axis.place(run.end(at, now));
    return (far = Math.max(far, end));
  });
  return { events: Int32Array.from(events), starts, reach, label: nameOf(events, run) };
}

/** Return the most frequent name of the events of a line, and how many others there are. */
function nameOf(events, run) {
  const counts = new Map();
  let best = events[0],
    most = 0;
  for (const at of events) {
    const key = (run.name[at] + 1) * (run.models.length + 1) + run.model[at],
      many = (counts.get(key) ?? 0) + 1;
    counts.set(key, many);
    if (many > most) [best, most] = [at, many];
  }
  return run.titleOf(best) + (counts.size > 1 ? ` + ${counts.size - 1}` : "");
}

/**
 * Return a line for each process of a run of several: `[{label, start, end, isOpen}]` in microseconds. One that did not
 * record that it left ends with the last row of its run: at `until` in the last run, or null while it is running.
 */
export function processes(participants, run, until) {
  if (participants.length < 2) return [];
  return participants.map((each) => {
    const start = (Date.parse(each.began) - run.t0) * 1e3;
    const pause = run.pauses.find(([, resumed]) => start < resumed);
    return {
      label: `${each.host || "?"} · ${each.pid ?? "?"}`,
      start,
      end: each.last ? (Date.parse(each.last) - run.t0) * 1e3 : (pause?.[0] ?? until),
      isOpen: !each.last,
    };
  });
}

/** Return gaps without events of at least `part` of the session: [from, to] in microseconds. */
export function gaps(run, now, part) {
  const { order, first } = run.tree;
  const least = Math.max(1_000, (now - run.begin) * part);
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
