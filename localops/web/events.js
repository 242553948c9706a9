// The events as a table, in the order of their start.

import { kindSign, make } from "./base.js";
import { count, many } from "./formats.js";
import { kindClass } from "./kinds.js";
import { again, preview, took } from "./previews.js";
import { VirtualList } from "./virtual.js";
import { costs, fitColumns, greatest, starts } from "./widths.js";

export class Events {
  constructor(page) {
    this.page = page;
    this.shown = [];
    this.list = new VirtualList({
      label: "Events",
      draw: (index, row) => this._draw(this.shown[index], row),
      choose: (index, how) => page.select(page.run.seq[this.shown[index]], { from: "events", ...how }),
    });
    this.note = make("span", { class: "faint" });
    this.element = make(
      "div",
      { class: "pane events" },
      make("div", { class: "bar" }, this.note),
      make(
        "div",
        { class: "columns", "aria-hidden": "true" },
        [
          ["Start", "num"],
          ["Kind", "narrow"],
          ["Name", ""],
          ["Agent", "wide agent-of"],
          ["Model", "wide model-of"],
          ["Duration", "num"],
          ["Tokens", "num wide"],
          ["Cost", "num narrow"],
        ].map(([label, kind]) => make("span", { class: kind }, label)),
      ),
      this.list.element,
    );
  }

  changed() {
    const { run } = this.page;
    this.shown = this.page.filtered ? run.order.filter((at) => this.page.matches(at)) : run.order;
    this.note.textContent = this.page.filtered
      ? `${count(this.shown.length)} of ${many(run.n, "event")}`
      : many(run.n, "event");
    this._fit();
    this.list.current = this.shown.indexOf(run.find(this.page.selected));
    this.list.show(this.shown.length);
  }

  /** Give columns the width of their texts, and leave out those that have none of their own. */
  _fit() {
    const { run } = this.page;
    if (!run.n || this.fitted === run.version) return;
    this.fitted = run.version;
    fitColumns(this.element, {
      start: ["Start", ...starts(run)],
      took: ["Duration", "59m 59s", "unfinished"],
      tokens: ["Tokens", ...greatest(run.tokens)],
      cost: ["Cost", ...costs(run, run.cost, (at) => run.costOf(at))],
    });
    this.element.classList.toggle("no-agent", !run.agent.subarray(0, run.n).some((number) => number >= 0));
    this.element.classList.toggle("no-model", !run.seq.subarray(0, run.n).some((_, at) => this._model(at)));
  }

  /** Return the model of an event, unless the event is named after it. */
  _model(at) {
    const { run } = this.page,
      model = run.model[at] >= 0 ? run.models[run.model[at]] : "";
    return model === run.nameOf(at) ? "" : model;
  }

  selected(seq) {
    this.list.mark(this.shown.indexOf(this.page.run.find(seq)));
  }

  /** Show the newest event. */
  toEnd() {
    this.list.reveal(this.shown.length - 1);
  }

  move(key) {
    return this.list.move(key);
  }

  _draw(at, row) {
    const { run } = this.page,
      kind = run.kindOf(at),
      held = run.tree.holds[at];
    const cell = (kind_, ...inside) => make("span", { class: kind_, role: "gridcell" }, ...inside);
    row.setAttribute("role", "row");
    row.append(
      cell("num faint", run.begins(at)),
      cell("narrow", kindSign(kind)),
      cell(
        "what",
        make(
          "span",
          { class: run.isCause(at) ? "failed" : null },
          make("span", { class: `kind bare ${kindClass(kind)}`, "aria-hidden": "true" }),
          run.nameOf(at),
          run.failed[at]
            ? make("span", { class: held ? "faint" : "failed" }, held ? " failed inside" : " failed")
            : null,
        ),
        again(this.page, run.seq[at]),
        preview(run.seq[at], run.took[at] >= 0),
      ),
      cell("wide faint agent-of", run.agentOf(at)),
      cell("wide faint model-of", this._model(at)),
      cell(
        "num",
        run.took[at] < 0 && !this.page.isUnderWay(at)
          ? make("span", { class: "pending" }, "unfinished")
          : took(this.page, at),
      ),
      cell("num wide", run.tokens[at] ? count(run.tokens[at]) : ""),
      cell("num narrow", run.costOf(at)),
    );
  }
}
