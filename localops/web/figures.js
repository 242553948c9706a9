// Charts of one session: events over time, costs and durations.  They are computed from the columns that the page has,
// so they follow new events; each figure leads to its events.

import { ask, make } from "./base.js";
import { now } from "./clock.js";
import { keyed } from "./keyed.js";
import { box, Charts } from "./charts.js";
import { cost, count, duration, money, percent, range, STEPS, tick } from "./formats.js";
import { kindClass, kindText } from "./kinds.js";
import { ranking } from "./ranking.js";

// Kinds with figures of their own.
const COUNTED = new Set(["llm", "tool", "agent", "error"]);
const BUCKETS = 100,
  TOP = 10;
// Milliseconds after which the cost by model of a running session is requested again.
const PAUSE = 10_000;

// The bar of calls of about a millisecond, in which all shorter ones are.
const SHORTEST = -20;
/** Return an edge of a bar, which may be between two milliseconds. */
const edge = (seconds) => (seconds < 0.01 ? `${(seconds * 1e3).toFixed(1)}ms` : duration(seconds));

export class Figures {
  constructor(page) {
    this.page = page;
    this.element = make("div", { class: "charts" });
    this.charts = new Charts();
    // The cost by model; undefined until the reply is here, so that nothing on the page moves then.
    this.spending = undefined;
    this.asked = -PAUSE;
  }

  changed() {
    const { run } = this.page;
    this._learn();
    if (!run.n || this.version === run.version || this.spending === undefined) return;
    this._redraw();
  }

  /** Request the cost by model, as in `localops why`; again when the session continues, and when it has ended. */
  async _learn() {
    const { run, running } = this.page,
      key = running ? run.version : "over";
    if (key === this.learned || (running && now() - this.asked < PAUSE)) return;
    Object.assign(this, { learned: key, asked: now() });
    try {
      this.spending = (await ask(`sessions/${run.id}/why`)).spending;
    } catch {
      // The other figures do not need it.
      this.spending ??= null;
    }
    // If the events are not loaded yet, the figures are drawn with them.
    if (run.n) this._redraw();
  }

  _redraw() {
    this.version = this.page.run.version;
    this._draw();
  }

  _draw() {
    const { run } = this.page;
    const calls = (kind) => Array.from(run.order).filter((at) => run.kindOf(at) === kind);
    const hasEnded = (at) => run.took[at] >= 0,
      isTool = (at) => run.kindOf(at) === "tool";
    // A tool call counts when it has ended, as in every other sum; a model call also where its process died in it.
    const llm = calls("llm"),
      tool = calls("tool").filter(hasEnded),
      under = [...llm, ...calls("tool")].filter((at) => this.page.isUnderWay(at));
    const over = this._over();
    over.classList.add("wide");
    const others = Array.from(run.order).filter((at) => hasEnded(at) && !COUNTED.has(run.kindOf(at)));
    // The time of an event with others inside is counted as theirs.
    const leaves = others.filter((at) => run.tree.first[at] < 0 && run.kindOf(at) !== "action");
    // Those of like height side by side.
    const boxes = [
      over,
      this.spending && this._spent(this.spending),
      this._by("Models", "Model", llm, "model", run.models, true),
      this._by("Agents", "Agent", Array.from(run.order), "agent", run.agents, true),
      llm.length > 0 && this._latency("Duration of LLM calls", llm, "llm"),
      tool.length > 0 && this._latency("Duration of tool calls", tool, "tool"),
      this._top(
        "Slowest calls",
        "Duration",
        [...new Set([...llm, ...tool, ...leaves, ...under])].filter((at) => hasEnded(at) || under.includes(at)),
        (at) => this._took(at),
        (at) => (hasEnded(at) ? "" : "running, ") + duration(this._took(at) / 1e6),
      ),
      this._top(
        "Most expensive calls",
        "Cost",
        [...llm, ...tool].filter((at) => run.cost[at] > 0),
        (at) => run.cost[at],
        (at) => money(run.cost[at]),
      ),
      this._by("Tools", "Tool", [...new Set([...tool, ...under])].filter(isTool), "name", run.names, false),
      this._by("Other events", "Event", others, "name", run.names, false),
    ].filter(Boolean);
    keyed(this.element, boxes);
    this.charts.sweep();
  }

  /** Return how long a call took, or has run. */
  _took(at) {
    const { run } = this.page;
    return run.took[at] < 0 ? Math.max(0, this.page.now - run.start[at]) : run.took[at];
  }

  _over() {
    const { run } = this.page;
    const { begin } = run,
      step = Math.max(1, (this.page.now - begin) / BUCKETS);
    const x = Array.from({ length: BUCKETS }, (_, i) => ((i + 0.5) * step) / 1e6);
    const sums = new Map();
    for (let at = 0; at < run.n; at += 1) {
      const kind = kindClass(run.kindOf(at)) || "other";
      if (!sums.has(kind))
        sums.set(
          kind,
          Array.from({ length: BUCKETS }, () => 0),
        );
      sums.get(kind)[Math.min(BUCKETS - 1, Math.max(0, Math.floor((run.start[at] - begin) / step)))] += 1;
    }
    return this.charts.plot({
      title: "Events over time",
      label: "at",
      x,
      time: false,
      steps: STEPS,
      stacked: true,
      xText: (value) => tick(value, (step * 10) / 1e6),
      yText: count,
      series: ["llm", "tool", "agent", "action", "other", "error"]
        .filter((kind) => sums.has(kind))
        .map((kind) => ({ label: kindText(kind), values: sums.get(kind), colour: kind })),
    });
  }

  /** Return the table of what made the cost, with links to the calls in which the prompts grew. */
  _spent({ parts, parts_count: total, costliest, tools }) {
    const call = (one, text) =>
      one &&
      make("button", { type: "button", class: "link", "data-key": one.seq, onclick: () => this._go(one.seq) }, text);
    const prompt = (one) => call(one, one && count(one.tokens_in));
    const share = (part) =>
      part.cost_nano === null
        ? "not known"
        : `${money(part.cost_nano)} (${percent(part.share)})${part.unpriced ? " + ?" : ""}`;
    const hasCache = parts.some((part) => part.cached_share !== null),
      hasAgents = parts.some((part) => part.agent),
      hasLast = parts.some((part) => part.last);
    const made = ranking({
      title: "Cost by model",
      rows: parts,
      total,
      value: (part) => part.cost_nano,
      columns: [
        { label: "Model", text: (part) => part.model || "unnamed" },
        ...(hasAgents ? [{ label: "Agent", text: (part) => part.agent || "" }] : []),
        { label: "Cost", num: true, text: share },
        { label: "Calls", num: true, isSpare: true, text: (part) => count(part.calls) },
        { label: "First prompt (tokens)", num: true, text: (part) => prompt(part.first) },
        ...(hasLast ? [{ label: "Last prompt (tokens)", num: true, text: (part) => prompt(part.last) }] : []),
        ...(hasCache
          ? [
              {
                label: "Cached",
                num: true,
                isSpare: true,
                hint: "Share of the input that was read from a cache, of the calls that report it",
                text: (part) => (part.cached_share === null ? "" : percent(part.cached_share)),
              },
            ]
          : []),
      ],
    });
    const most = call(costliest, money(costliest.cost_nano));
    const rest = tools.cost_nano ? ` Tools cost ${money(tools.cost_nano)} (${percent(tools.share)}).` : "";
    made.append(make("p", { class: "faint" }, "The most expensive call cost ", most, ".", rest));
    made.classList.add("wide");
    return made;
  }

  _go(seq) {
    this.page.select(seq, { isStep: true });
  }

  _by(title, label, events, column, names, tokens) {
    const { run } = this.page,
      groups = new Map();
    for (const at of events) {
      const key = run[column][at];
      if (key < 0) continue;
      const sum = groups.get(key) || { key, calls: 0, failed: 0, tokens: 0, cost: 0, took: 0, unpriced: 0, running: 0 };
      sum.calls += 1;
      sum.failed += run.failed[at];
      sum.tokens += run.tokens[at];
      sum.cost += run.cost[at] || 0;
      sum.unpriced += run.isCall(at) && Number.isNaN(run.cost[at]) ? 1 : 0;
      sum.running += this.page.isUnderWay(at) ? 1 : 0;
      sum.took += this.page.isUnderWay(at) ? this._took(at) : Math.max(0, run.took[at]);
      groups.set(key, sum);
    }
    const rows = [...groups.values()].sort((a, b) => b.cost - a.cost || b.calls - a.calls);
    const costs = rows.some((row) => row.cost > 0);
    return (
      rows.length > 0 &&
      ranking({
        title,
        rows,
        value: (row) => (costs ? row.cost : row.calls),
        to: (row) => () => this._seek(title === "Tools" ? new Set(["tool"]) : this.page.kinds, names[row.key]),
        columns: [
          { label, text: (row) => names[row.key] || "unnamed", sort: (row) => names[row.key] || "unnamed" },
          {
            label: column === "agent" ? "Events" : "Calls",
            num: true,
            text: ({ calls, running }) =>
              [calls > running && count(calls), running && `${count(running)} running`].filter(Boolean).join(", "),
            sort: (row) => row.calls,
          },
          {
            label: "Failed",
            num: true,
            text: (row) => (row.failed ? `${count(row.failed)} (${percent(row.failed / row.calls)})` : "0"),
            sort: (row) => row.failed,
          },
          tokens
            ? { label: "Tokens", num: true, text: (row) => count(row.tokens), sort: (row) => row.tokens }
            : { label: "Time", num: true, text: (row) => duration(row.took / 1e6), sort: (row) => row.took },
          // Most tools and actions have no cost, which is not a cost of $0.00.
          ...(costs || tokens
            ? [
                {
                  label: "Cost",
                  num: true,
                  text: (row) =>
                    row.cost || tokens
                      ? cost({ cost_nano: row.cost, unpriced: row.unpriced, llm_calls: row.calls })
                      : "",
                  sort: (row) => row.cost,
                },
              ]
            : []),
        ],
      })
    );
  }

  _seek(kinds, name) {
    const field = document.querySelector("#choose input");
    field.value = name;
    this.page.seek(kinds, name);
    document.getElementById("tab-events").click();
  }

  /** Draw a histogram with a logarithmic axis: the longest call can take a thousand times the shortest. */
  _latency(title, events, colour) {
    const { run } = this.page;
    const took = Float64Array.from(
      events.filter((at) => run.took[at] >= 0),
      (at) => run.took[at] / 1e6,
    ).sort();
    if (!took.length) return box(title, make("p", { class: "faint" }, "No call has ended"));
    const power = (value) => Math.max(SHORTEST, Math.floor(Math.log2(value) * 2));
    const low = power(took[0]),
      high = power(took.at(-1)),
      values = Array.from({ length: high - low + 1 }, () => 0);
    took.forEach((value) => (values[power(value) - low] += 1));
    const at = (share) => took[Math.min(took.length - 1, Math.max(0, Math.ceil(share * took.length) - 1))];
    return this.charts.plot({
      note: `median ${duration(at(0.5))}, 95th percentile ${duration(at(0.95))}, longest ${duration(took.at(-1))}`,
      title,
      label: "duration",
      x: values.map((_, i) => low + i),
      time: false,
      xText: (value) => range(value > SHORTEST ? 2 ** (value / 2) : 0, 2 ** ((value + 1) / 2), edge),
      xSpace: 110,
      yText: count,
      series: [{ label: "calls", values, colour }],
      height: 180,
    });
  }

  _top(title, label, events, size, text) {
    const { run } = this.page;
    const rows = events.sort((a, b) => size(b) - size(a)).slice(0, TOP);
    return (
      rows.length > 0 &&
      ranking({
        title,
        rows,
        value: (at) => Math.max(0, size(at)),
        to: (at) => () => this.page.select(run.seq[at], { isStep: true }),
        columns: [
          { label: "Call", text: (at) => run.titleOf(at) },
          ...(rows.some((at) => run.agentOf(at)) ? [{ label: "Agent", text: (at) => run.agentOf(at) }] : []),
          { label, num: true, text },
        ],
      })
    );
  }
}
