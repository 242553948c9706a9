// A session's events in columns, which every view draws from.  Events are numbered in the order in which they arrive;
// `seq` names them to the server and in the address.  The tree and its sums are computed when they are needed.

import { ask } from "./base.js";
import { cost as sum, eventCost, since } from "./formats.js";
import { kindText } from "./kinds.js";

const FIRST = 2_000,
  THEN = 25_000;
const COLUMNS = {
  seq: Float64Array,
  start: Float64Array,
  took: Float64Array,
  kind: Int16Array,
  name: Int32Array,
  agent: Int32Array,
  model: Int32Array,
  parent: Float64Array,
  failed: Uint8Array,
  tokens: Float64Array,
  cost: Float64Array,
  unbilled: Uint8Array,
  // The place of the process among the participants, if a row names it.
  process: Int16Array,
};
const NUMBERED = { kind: "kinds", name: "names", agent: "agents", model: "models" };

export class Run {
  constructor(id) {
    this.id = id;
    this.n = 0;
    // Milliseconds since 1970.
    this.t0 = 0;
    this.seen = 0;
    this.version = 0;
    // Microseconds from t0 to the end of the last event.
    this.last = 0;
    // Of each resume: when the run before it stopped, and when it went on, in microseconds from t0.
    this.pauses = [];
    for (const plural of Object.values(NUMBERED)) this[plural] = [];
    this._numbers = Object.fromEntries(Object.keys(NUMBERED).map((name) => [name, new Map()]));
    this._grow(4_096);
  }

  /** Fetch new events, a small page first; call `onPage` after each page. */
  async load(onPage = () => {}) {
    for (let limit = this.n ? THEN : FIRST; ; limit = THEN) {
      const page = await ask(`sessions/${this.id}/timeline`, { after: this.seen, limit });
      this.add(page);
      onPage(page.next === null);
      if (page.next === null) return;
    }
  }

  add(page) {
    this.t0 = Number(page.t0_ns) / 1e6;
    const numbers = Object.fromEntries(
      Object.entries(NUMBERED).map(([name, plural]) => [name, page[plural].map((value) => this._number(name, value))]),
    );
    this._grow(this.n + page.seq.length);
    for (let i = 0; i < page.seq.length; i += 1) {
      let at = this.find(page.seq[i]);
      if (at < 0) {
        at = this.n;
        this.n += 1;
        // Nearly always the largest seq so far; only events that arrive late are smaller.
        if (at && this.seq[at - 1] > page.seq[i]) this._late = true;
        this.seq[at] = page.seq[i];
        if (this._late) (this._places ||= this._indexed()).set(page.seq[i], at);
      }
      this.start[at] = page.start_us[i];
      this.took[at] = page.dur_us[i];
      for (const name in NUMBERED) this[name][at] = page[name][i] < 0 ? -1 : numbers[name][page[name][i]];
      this.parent[at] = page.parent[i];
      this.failed[at] = page.failed[i];
      this.process[at] = page.process?.[i] ?? -1;
      this.tokens[at] = page.tokens[i];
      this.cost[at] = page.cost[i] === null ? NaN : page.cost[i];
      this.last = Math.max(this.last, page.start_us[i] + Math.max(0, page.dur_us[i]));
    }
    if (page.pauses) this.pauses = page.pauses;
    for (const [seq, cost] of page.later || []) {
      const at = this.find(seq);
      if (at >= 0) this.cost[at] = (this.cost[at] || 0) + cost;
    }
    for (const seq of page.later_failed || []) {
      const at = this.find(seq);
      if (at >= 0) this.failed[at] = 1;
    }
    for (const seq of page.unbilled || []) {
      const at = this.find(seq);
      if (at >= 0) this.unbilled[at] = 1;
    }
    if (this.seen === page.seen) return;
    this.seen = page.next ?? page.seen;
    this.version += 1;
    this._tree = null;
  }

  /** The start of the time axis in microseconds: the session's start, or that of an earlier event. */
  get begin() {
    return this.n ? Math.min(0, this.start[this.order[0]]) : 0;
  }

  /** Return the time from the start of the session to an event, with the same number of digits for all events. */
  begins(at) {
    return since((this.start[at] - this.begin) / 1e6, this._gap / 1e6);
  }

  /** Return when an event began, in milliseconds. */
  clockOf(at) {
    return this.t0 + this.start[at] / 1e3;
  }

  /** The gap between two starts, in microseconds, that their texts have to show: most gaps are larger. */
  get _gap() {
    const { tree } = this;
    if (tree.gap) return tree.gap;
    const gaps = [];
    for (let i = 1; i < tree.order.length; i += 1) {
      const gap = this.start[tree.order[i]] - this.start[tree.order[i - 1]];
      if (gap > 0) gaps.push(gap);
    }
    gaps.sort((one, other) => one - other);
    tree.gap = gaps[Math.floor(gaps.length / 10)] ?? 1e9;
    return tree.gap;
  }

  /** Return where the server has an event. */
  addressOf(at) {
    return `sessions/${this.id}/events/${this.seq[at]}`;
  }

  /** Return the number of an event; -1 if it is unknown. */
  find(seq) {
    if (this._late) return (this._places ||= this._indexed()).get(seq) ?? -1;
    let low = 0,
      high = this.n - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (this.seq[middle] === seq) return middle;
      if (this.seq[middle] < seq) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  end(at, now = this.last) {
    if (this.took[at] >= 0) return this.start[at] + this.took[at];
    return Math.max(this.pauseAfter(at)?.[0] ?? now, this.start[at]);
  }

  /** Return when the run that an event began in stopped, and when it was resumed; undefined for the last run. */
  pauseAfter(at) {
    return this.pauses.find(([, resumed]) => this.start[at] < resumed);
  }

  kindOf(at) {
    return this.kinds[this.kind[at]] || "";
  }

  isBad(at) {
    return this.failed[at] === 1 || this.kindOf(at) === "error";
  }

  /** Return whether a failure began here: no operation inside failed, and it is no error that one above it names. */
  isCause(at) {
    const { holds, parent } = this.tree;
    if (!this.isBad(at) || holds[at]) return false;
    return this.kindOf(at) !== "error" || parent[at] < 0 || this.failed[parent[at]] !== 1;
  }

  /** Return the first failures inside an event, in the order of the tree. */
  causesIn(at, most) {
    const { walk, size } = this.tree,
      from = walk.indexOf(at),
      causes = [];
    for (let i = from + 1; i < from + size[at] && causes.length < most; i += 1)
      if (this.isCause(walk[i])) causes.push(walk[i]);
    return causes;
  }

  /** Return the error that is directly inside an event; -1 for none. */
  errorIn(at) {
    const { first, next } = this.tree;
    for (let child = first[at] ?? -1; child >= 0; child = next[child]) if (this.kindOf(child) === "error") return child;
    return -1;
  }

  nameOf(at) {
    return this.name[at] >= 0 ? this.names[this.name[at]] : this.model[at] >= 0 ? this.models[this.model[at]] : "";
  }

  /** Return the name of an event, or its kind if it has none. */
  titleOf(at) {
    return this.nameOf(at) || kindText(this.kindOf(at));
  }

  /** Return what an event cost, as text. */
  costOf(at) {
    return eventCost({
      kind: this.kindOf(at),
      cost_nano: Number.isNaN(this.cost[at]) ? null : this.cost[at],
      billed: this.unbilled[at] ? false : undefined,
      finished: this.took[at] >= 0,
    });
  }

  /** Return what an event and all inside it cost, as text. */
  branchCost(at) {
    const { cost, unpriced, calls } = this.tree;
    const alone = cost[at] === (this.cost[at] || 0) && calls[at] === Number(this.isCall(at));
    return alone ? this.costOf(at) : sum({ cost_nano: cost[at], unpriced: unpriced[at], llm_calls: calls[at] });
  }

  /** Return whether an event is an LLM call that ended, which has a cost. */
  isCall(at) {
    return this.took[at] >= 0 && this.kindOf(at) === "llm";
  }

  agentOf(at) {
    return this.agent[at] >= 0 ? this.agents[this.agent[at]] : "";
  }

  /** The events as a tree in the order of their start, with the sums of each branch. */
  get tree() {
    return (this._tree ||= grow(this));
  }

  /** Numbers of all events in the order of their start. */
  get order() {
    return this.tree.order;
  }

  _indexed() {
    const places = new Map();
    for (let at = 0; at < this.n; at += 1) places.set(this.seq[at], at);
    return places;
  }

  _number(column, value) {
    const known = this._numbers[column];
    let number = known.get(value);
    if (number === undefined) {
      number = this[NUMBERED[column]].push(value) - 1;
      known.set(value, number);
    }
    return number;
  }

  _grow(size) {
    if (this.seq && this.seq.length >= size) return;
    for (const [name, Kind] of Object.entries(COLUMNS)) {
      const grown = new Kind(Math.max(size, 2 * (this[name]?.length || 0)));
      if (this[name]) grown.set(this[name].subarray(0, this.n));
      this[name] = grown;
    }
  }
}

function grow(run) {
  const { n } = run;
  const order = Int32Array.from({ length: n }, (_, at) => at);
  let sorted = true;
  for (let at = 1; at < n && sorted; at += 1) sorted = run.start[at - 1] <= run.start[at];
  if (!sorted) order.sort((a, b) => run.start[a] - run.start[b] || run.seq[a] - run.seq[b]);

  const place = new Int32Array(n);
  order.forEach((at, index) => (place[at] = index));

  const parent = new Int32Array(n).fill(-1),
    first = new Int32Array(n).fill(-1),
    next = new Int32Array(n).fill(-1);
  for (let at = 0; at < n; at += 1) {
    const above = run.parent[at] ? run.find(run.parent[at]) : -1;
    if (above !== at) parent[at] = above;
  }
  cut(parent);
  const roots = [];
  for (let i = n - 1; i >= 0; i -= 1) {
    // From the end, so that each child is put before its later siblings.
    const at = order[i],
      above = parent[at];
    if (above < 0) roots.push(at);
    else {
      next[at] = first[above];
      first[above] = at;
    }
  }
  roots.reverse();

  const depth = new Int32Array(n),
    walk = new Int32Array(n),
    size = new Int32Array(n).fill(1);
  const stack = roots.slice().reverse();
  let steps = 0;
  while (stack.length) {
    const at = stack.pop();
    walk[steps] = at;
    steps += 1;
    const below = [];
    for (let child = first[at]; child >= 0; child = next[child]) {
      depth[child] = depth[at] + 1;
      below.push(child);
    }
    for (let i = below.length - 1; i >= 0; i -= 1) stack.push(below[i]);
  }

  const cost = new Float64Array(n),
    tokens = new Float64Array(n),
    calls = new Int32Array(n),
    unpriced = new Int32Array(n),
    failures = new Int32Array(n),
    // 1: an operation inside failed, so that the failure began there.
    holds = new Uint8Array(n);
  for (let i = steps - 1; i >= 0; i -= 1) {
    const at = walk[i],
      above = parent[at];
    cost[at] += run.cost[at] || 0;
    tokens[at] += run.tokens[at];
    if (run.isCall(at)) {
      calls[at] += 1;
      unpriced[at] += Number.isNaN(run.cost[at]) ? 1 : 0;
    }
    failures[at] += run.isBad(at) ? 1 : 0;
    if (above < 0) continue;
    if (holds[at] || (run.failed[at] === 1 && run.kindOf(at) !== "error")) holds[above] = 1;
    cost[above] += cost[at];
    tokens[above] += tokens[at];
    calls[above] += calls[at];
    unpriced[above] += unpriced[at];
    failures[above] += failures[at];
    size[above] += size[at];
  }
  // Unfinished operations that contain another unfinished one: the session did not end in these.
  const around = new Uint8Array(n);
  for (let at = 0; at < n; at += 1) if (run.took[at] < 0 && parent[at] >= 0) around[parent[at]] = 1;
  const ends = Array.from(order.filter((at) => run.took[at] < 0 && !around[at] && !run.pauseAfter(at)));
  return {
    order,
    // Where each event is in the order.
    place,
    roots,
    parent,
    first,
    next,
    depth,
    walk,
    size,
    cost,
    tokens,
    calls,
    unpriced,
    failures,
    holds,
    ends,
  };
}

/** Break cycles of parents, which a program can record by mistake. */
function cut(parent) {
  // 1: on the current path, 2: known to lead to a root.
  const state = new Uint8Array(parent.length);
  for (let at = 0; at < parent.length; at += 1) {
    let up = at;
    while (up >= 0 && !state[up]) {
      state[up] = 1;
      up = parent[up];
    }
    if (up >= 0 && state[up] === 1) parent[up] = -1;
    for (up = at; up >= 0 && state[up] === 1; up = parent[up]) state[up] = 2;
  }
}
