// The events as a table, in the order of their start.

import { kindSign, make } from "./base.js";
import { count, many } from "./formats.js";
import { kindClass } from "./kinds.js";
import { again, preview, took } from "./previews.js";
import { VirtualList } from "./virtual.js";

// On a narrow screen a row has two lines.
const PHONE = matchMedia("(max-width: 44rem)");

export class Events {
  constructor(page) {
    this.page = page;
    this.shown = [];
    this.list = new VirtualList({
      label: "Events",
      height: PHONE.matches ? 46 : 28,
      draw: (index, row) => this._draw(this.shown[index], row),
      choose: (index, how) => page.select(page.run.seq[this.shown[index]], { from: "events", ...how }),
    });
    PHONE.addEventListener("change", () => {
      this.list.height = PHONE.matches ? 46 : 28;
      this.list.show(this.shown.length);
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
          ["Agent", "wide"],
          ["Model", "wide"],
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
    this.list.current = this.shown.indexOf(run.find(this.page.selected));
    this.list.show(this.shown.length);
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
      cell("wide faint", run.agentOf(at)),
      cell("wide faint", run.model[at] >= 0 ? run.models[run.model[at]] : ""),
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
