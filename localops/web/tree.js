// The events as a tree: each branch with its duration, tokens and cost, and the place where a dead process stopped.

import { icon, ICONS, kindSign, make } from "./base.js";
import { count, many } from "./formats.js";
import { kindClass } from "./kinds.js";
import { again, preview, took } from "./previews.js";
import { VirtualList } from "./virtual.js";
import { costs, fitColumns, greatest } from "./widths.js";

// Events of a tree that is fully open at first; a larger one shows its first levels.
const OPEN_AT_FIRST = 2_000;

export class Tree {
  constructor(page) {
    this.page = page;
    // Seqs of closed branches.
    this.closed = new Set();
    this.shown = [];
    this.version = -1;
    this.list = new VirtualList({
      label: "Events as a tree",
      role: "treegrid",
      draw: (index, row) => this._draw(this.shown[index], row),
      choose: (index, how) => page.select(page.run.seq[this.shown[index]], { from: "tree", ...how }),
      key: (key, index) => this._key(key, index),
    });
    const button = (label, run) => make("button", { type: "button", class: "quiet small", onclick: run }, label);
    this.note = make("span", { class: "faint" });
    this.element = make(
      "div",
      { class: "pane tree" },
      make(
        "div",
        { class: "bar" },
        button("Open all", () => this._all(false)),
        button("Close all", () => this._all(true)),
        this.note,
      ),
      make(
        "div",
        { class: "columns", "aria-hidden": "true" },
        make("span", {}, "Event"),
        make("span", { class: "wide", title: "When each event ran within its parent" }, "Within parent"),
        make("span", { class: "num" }, "Duration"),
        make("span", { class: "num wide" }, "Tokens"),
        make("span", { class: "num" }, "Cost"),
      ),
      this.list.element,
    );
  }

  changed() {
    const { run } = this.page;
    if (!this._begun && run.n > OPEN_AT_FIRST && this.page.complete) {
      this._begun = true;
      this._shut(2);
    }
    this._flatten();
  }

  selected(seq, mine) {
    const { run } = this.page,
      at = run.find(seq);
    if (at >= 0 && !mine) {
      for (let up = run.tree.parent[at]; up >= 0; up = run.tree.parent[up]) this.closed.delete(run.seq[up]);
      this._flatten();
    }
    this.list.mark(this.shown.indexOf(at));
  }

  /** Show the newest event. */
  toEnd() {
    const { run } = this.page;
    let last = run.order.at(-1) ?? -1;
    for (let up = last; up >= 0; up = run.tree.parent[up]) if (this.closed.has(run.seq[up])) last = up;
    this.list.reveal(this.shown.indexOf(last));
  }

  _flatten() {
    const { run } = this.page,
      { walk, size, parent } = run.tree;
    let kept = null;
    if (this.page.filtered) {
      // Matches are 2, events that contain a match 1.
      kept = new Uint8Array(run.n);
      for (let at = 0; at < run.n; at += 1) {
        if (!this.page.matches(at)) continue;
        kept[at] = 2;
        for (let up = parent[at]; up >= 0 && !kept[up]; up = parent[up]) kept[up] = 1;
      }
    }
    this.kept = kept;
    const shown = [];
    let matches = 0;
    for (let i = 0; i < walk.length; i += 1) {
      const at = walk[i];
      if (kept && !kept[at]) continue;
      if (kept?.[at] === 2) matches += 1;
      shown.push(at);
      if (this.closed.has(run.seq[at])) i += size[at] - 1;
    }
    this.shown = shown;
    if (run.n && this.fitted !== run.version) {
      this.fitted = run.version;
      fitColumns(this.element, {
        took: ["Duration", "59m 59s"],
        tokens: ["Tokens", ...greatest(run.tree.tokens)],
        cost: ["Cost", ...costs(run, run.tree.cost, (at) => run.branchCost(at))],
      });
    }
    this.note.textContent = kept ? `${count(matches)} of ${many(run.n, "event")}` : many(run.n, "event");
    this.list.current = shown.indexOf(run.find(this.page.selected));
    this.list.show(shown.length);
  }

  move(key) {
    return this.list.move(key);
  }

  _draw(at, row) {
    const { run } = this.page,
      { tree } = run;
    const kind = run.kindOf(at),
      below = tree.first[at] >= 0,
      shut = this.closed.has(run.seq[at]);
    const twist = below
      ? make(
          "button",
          {
            type: "button",
            tabindex: -1,
            class: `twist${shut ? "" : " open"}`,
            "aria-label": shut ? "Open" : "Close",
            onclick: () => this._toggle(at),
          },
          icon(ICONS.right),
        )
      : make("span", { class: "twist" });
    const stopped = run.took[at] < 0,
      died = stopped && !this.page.isUnderWay(at);
    const branch = make(
      "span",
      { class: "branch", role: "gridcell" },
      twist,
      kindSign(kind),
      make(
        "span",
        { title: run.nameOf(at), class: run.isCause(at) ? "failed" : null },
        run.nameOf(at),
        run.failed[at]
          ? make("span", { class: tree.holds[at] ? "faint" : "failed" }, tree.holds[at] ? " failed inside" : " failed")
          : null,
        !run.failed[at] && shut && tree.failures[at] > 0
          ? make("span", { class: "failed" }, ` ${count(tree.failures[at])} failed inside`)
          : null,
        died
          ? make("span", { class: "pending wide" }, this._deepest(at) ? " ended here" : " did not finish")
          : stopped
            ? make("span", { class: "pending" }, " running")
            : null,
      ),
      again(this.page, run.seq[at]),
      preview(run.seq[at], !stopped),
    );
    branch.style.paddingLeft = `calc(${Math.min(24, tree.depth[at])} * var(--indent))`;
    const lane = make("i", {
      class: [kindClass(kind), run.failed[at] && (tree.holds[at] ? "held" : "bad"), stopped && "open"]
        .filter(Boolean)
        .join(" "),
    });
    // Within the event around it: in a long run every bar would be the same dot.
    const around = tree.parent[at];
    const begin = around < 0 ? run.begin : run.start[around],
      whole = Math.max(1, (around < 0 ? this.page.now : run.end(around, this.page.now)) - begin);
    lane.style.left = `${Math.max(0, Math.min(99, ((run.start[at] - begin) / whole) * 100))}%`;
    lane.style.width = `${Math.max(0, Math.min(100, ((run.end(at, this.page.now) - run.start[at]) / whole) * 100))}%`;
    row.setAttribute("role", "row");
    row.setAttribute("aria-level", tree.depth[at] + 1);
    if (below) row.setAttribute("aria-expanded", !shut);
    if (this.kept?.[at] === 1) row.classList.add("dim");
    row.append(
      branch,
      make("span", { class: "lane wide", role: "presentation" }, lane),
      make("span", { class: "num", role: "gridcell" }, died ? this._died(at) : took(this.page, at)),
      make("span", { class: "num wide", role: "gridcell" }, tree.tokens[at] ? count(tree.tokens[at]) : ""),
      make("span", { class: "num", role: "gridcell" }, run.branchCost(at)),
    );
  }

  /** Return the duration of what did not finish, with words on a narrow screen: its name has no room for them. */
  _died(at) {
    const words = this._deepest(at) ? "ended here" : "unfinished";
    return [make("span", { class: "wide" }, "–"), make("span", { class: "pending slim" }, words)];
  }

  /** Return whether an unfinished operation contains no other unfinished one: the session stopped in it. */
  _deepest(at) {
    const { run } = this.page,
      { first, next } = run.tree;
    for (let child = first[at]; child >= 0; child = next[child]) if (run.took[child] < 0) return false;
    return true;
  }

  _toggle(at) {
    const seq = this.page.run.seq[at];
    if (!this.closed.delete(seq)) this.closed.add(seq);
    this._flatten();
  }

  _shut(depth) {
    const { run } = this.page;
    for (let at = 0; at < run.n; at += 1)
      if (run.tree.first[at] >= 0 && run.tree.depth[at] >= depth) this.closed.add(run.seq[at]);
  }

  _all(shut) {
    this.closed.clear();
    if (shut) this._shut(0);
    this._flatten();
  }

  _key(key, index) {
    const at = this.shown[index];
    if (at === undefined || (key !== "ArrowRight" && key !== "ArrowLeft")) return false;
    const { first, parent } = this.page.run.tree,
      shut = this.closed.has(this.page.run.seq[at]);
    if (key === "ArrowRight" && first[at] >= 0 && shut) this._toggle(at);
    else if (key === "ArrowRight" && first[at] >= 0) this.list.choose(index + 1);
    else if (key === "ArrowLeft" && first[at] >= 0 && !shut) this._toggle(at);
    else if (key === "ArrowLeft" && parent[at] >= 0) this.list.choose(this.shown.indexOf(parent[at]));
    return true;
  }
}
