// The timeline: every event as a bar on a canvas that can be zoomed and dragged.  The drawing is in paint.js.

import { colour, make, onTheme } from "./base.js";
import { Axis } from "./axis.js";
import { Film } from "./film.js";
import { count, duration, many } from "./formats.js";
import { gaps, layOut, place, PROCESSES, processes } from "./lanes.js";
import { COLOURS, kindNumbers, LINE, MARK, paintAxis, paintBars, paintMap, SHORT, THIN, TOP } from "./paint.js";

const AXIS = 24,
  MAP = 36;
// Pixels for names on the left, in a wide and in a narrow window.
const GUTTER = 148,
  NARROW = 76,
  ROOMY = 620;
// Microseconds of the view at the closest zoom.
const CLOSEST = 20;
// Pixels beside a bar that still count as it.
const NEAR = 4;
// Pixels within which a pointer that clicked has not moved on.
const STILL = 8;
// The parts of the session that a gap lasts at least to be skipped, and to be hatched.
const IDLE = 1 / 100,
  GAP = 1 / 50;

// How bars are put into lines; the first one, unless the address names another.
const ORDERS = ["agent", "name", "nesting", "process"];

export class Timeline {
  constructor(page) {
    this.page = page;
    const chosen = new URLSearchParams(location.search);
    this.by = ORDERS.includes(chosen.get("lanes")) ? chosen.get("lanes") : ORDERS[0];
    this.skips = chosen.get("idle") === "skip";
    this.from = 0;
    // 0: the whole session.
    this.span = 0;
    this.layout = null;
    this.hover = -1;
    // The event that arrow keys stand on.
    this.cursor = -1;
    this.gutter = 0;
    // The end of the time axis when it was last drawn: it is worked out from all events.
    this.now = 0;
    // Settled when the pictures are there.
    this.shown = null;
    // Name → its width in pixels.
    this.widths = new Map();
    this._build();
    onTheme(() => {
      this.colours = null;
      this.draw();
    });
    new ResizeObserver(() => this._resize()).observe(this.scroll);
  }

  _build() {
    const button = (label, title, run) =>
      make("button", { type: "button", class: "quiet small", title, "aria-label": title, onclick: run }, label);
    this.choice = make(
      "select",
      { "aria-label": "Order of the bars", onchange: () => this._order(this.choice.value) },
      ORDERS.map((by) => make("option", { value: by, selected: by === this.by }, `by ${by}`)),
    );
    this.idle = make(
      "button",
      {
        type: "button",
        class: "quiet small",
        "aria-pressed": String(this.skips),
        title: "Make times without events short",
        onclick: () => this._skip(!this.skips),
      },
      "Skip idle",
    );
    this.note = make("span", { class: "faint hint" }, "Ctrl + wheel zooms, drag moves");
    const bar = make(
      "div",
      { class: "bar" },
      this.choice,
      button("−", "Zoom out ( − )", () => this.zoom(1.6)),
      button("+", "Zoom in ( + )", () => this.zoom(0.625)),
      button("Fit", "Everything ( 0 )", () => this.fit()),
      this.idle,
      this.note,
    );
    this.overview = make("canvas", { class: "overview", "aria-hidden": "true" });
    this.axisCanvas = make("canvas", { class: "axis", "aria-hidden": "true" });
    this.words = make("p", { class: "visually-hidden", id: "timeline-words" });
    this.spoken = make("p", { class: "visually-hidden", role: "status" });
    this.canvas = make("canvas", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "timeline",
      "aria-label": "Timeline. Arrows go from bar to bar, Enter opens one, plus and minus zoom, Shift and arrows move.",
      "aria-describedby": "timeline-words",
    });
    this.space = make("div");
    this.scroll = make("div", { class: "scroll" }, this.canvas, this.space);
    this.tip = make("div", { class: "tip", hidden: true });
    this.film = new Film(this.page, () => this.draw());
    this.element = make(
      "div",
      { class: "pane timeline" },
      bar,
      this.film.element,
      this.overview,
      this.axisCanvas,
      this.scroll,
      this.tip,
      this.words,
      this.spoken,
    );
    this.scroll.addEventListener("scroll", () => this.draw(), { passive: true });
    this._listen();
  }

  // Content

  changed() {
    this._gather();
    this.shown = Promise.all([this.shown, this.film.changed()]);
    this._resize();
  }

  /** Draw a running session again, whose time axis grows. */
  tick() {
    if (!this.element.isConnected) return;
    if (this.page.follows && this.span) this.toEnd();
    this.draw();
  }

  selected(seq, mine) {
    const at = this.page.run.find(seq);
    this.cursor = at;
    this.film.selected(seq);
    if (at >= 0 && !mine && this.layout) this._reveal(at);
    this.draw();
  }

  fit() {
    this.span = 0;
    this.draw();
  }

  /** Show the newest events, at the chosen zoom. */
  toEnd() {
    if (this.span) this._look(this.axis.place(this.page.now) - this.span * 0.9, this.span);
  }

  _order(by) {
    this.by = by;
    this.page.keep("lanes", by === ORDERS[0] ? null : by);
    this.changed();
  }

  _skip(skips) {
    this.skips = skips;
    this.idle.setAttribute("aria-pressed", String(skips));
    this.span = 0;
    this.page.keep("idle", skips ? "skip" : null);
    this.changed();
  }

  _gather() {
    const { run, now } = this.page;
    const key = [run.version, this.by, this.skips, this.page.facts.participants?.length].join();
    this.lit_ = null;
    this.now = now;
    if (this.layout?.key === key) return;
    const idle = gaps(run, now, IDLE);
    this.axis = this.skips ? new Axis(idle, now - run.begin) : new Axis();
    const { facts, last, running } = this.page;
    const all = processes(facts.participants || [], run, running ? null : last),
      bands = all.slice(0, PROCESSES);
    this.choice.querySelector("[value=process]").hidden = !all.length;
    const layout = layOut(run, now, this.by, this.axis, all);
    const tops = layout.lines.map((_, index) => TOP + (bands.length + index) * LINE + (bands.length ? TOP : 0));
    const error = run.kinds.indexOf("error");
    const failed = layout.lines.map((line) =>
      line.events.filter((at) => run.failed[at] === 1 || run.kind[at] === error),
    );
    this.layout = {
      ...layout,
      key,
      bands,
      tops,
      height: (tops.at(-1) ?? 0) + LINE + TOP,
      kinds: kindNumbers(run),
      // By line, as they are drawn.
      usual: [],
      failed,
      failedStarts: failed.map((events) => Float64Array.from(events, (at) => this.axis.place(run.start[at]))),
      gaps: this.skips ? idle : idle.filter(([from, to]) => to - from >= (now - run.begin) * GAP),
      begin: run.begin,
    };
    this.density = null;
    this.idle.hidden = !idle.length;
    this.space.style.height = this.scroll.style.height = `${Math.max(0, this.layout.height - 1)}px`;
    this.words.textContent = this._summary();
  }

  /** Return the whole of the timeline in words. */
  _summary() {
    const { run, now, last, running, facts } = this.page;
    const causes = this.layout.failed
      .flatMap((events) => Array.from(events))
      .filter((at) => run.isCause(at))
      .sort((a, b) => run.start[a] - run.start[b]);
    const names = causes.slice(0, 5).map((at) => `${run.titleOf(at)} at ${run.begins(at)}`);
    const long = duration(((running ? now : last) - run.begin) / 1e6);
    return [
      `${many(run.n, "event")} in ${many(this.layout.lines.length, "line")},`,
      `${facts.at_least ? "at least " : ""}${long} long.`,
      causes.length ? `${many(causes.length, "failure")}: ${names.join(", ")}.` : "No failures.",
      "The tree has the same events as text.",
    ].join(" ");
  }

  /** Which events match the filter, 0 or 1 each; null without a filter. */
  get lit() {
    if (!this.page.filtered) return null;
    return (this.lit_ ||= Uint8Array.from({ length: this.page.run.n }, (_, at) => (this.page.matches(at) ? 1 : 0)));
  }

  get begin() {
    return this.layout?.begin || 0;
  }

  /** Return the place at which the bar of an event begins. */
  startOf(at) {
    return this.axis.place(this.page.run.start[at]);
  }

  /** Return the place at which the bar of an event ends. */
  endOf(at) {
    return this.axis.place(this.page.run.end(at, this.now));
  }

  /** The whole session with a little room on both sides: [from, span], in places of the axis. */
  get all() {
    const long = Math.max(CLOSEST, this.axis.place(this.page.now) - this.begin);
    return [this.begin - long * 0.01, long * 1.03];
  }

  /** The visible part of the time axis: [from, span]. */
  get view() {
    return this.span ? [this.from, this.span] : this.all;
  }

  _look(from, span) {
    const [, whole] = this.all;
    const size = Math.min(whole * 1.05, Math.max(CLOSEST, span));
    if (size >= whole) this.span = 0;
    else {
      this.span = size;
      this.from = Math.min(this.begin + whole - size * 0.5, Math.max(this.begin - size * 0.5, from));
    }
    this.draw();
  }

  zoom(by, x = this.width / 2) {
    const [from, span] = this.view;
    const at = from + (span * x) / this.width;
    this._look(at - (span * by * x) / this.width, span * by);
  }

  _reveal(at) {
    const [from, span] = this.view;
    const end = this.endOf(at),
      start = this.startOf(at);
    if (end < from || start > from + span || end - start > span)
      this._look(start - Math.max(end - start, span * 0.1), Math.max((end - start) * 3, this.span || span));
    const y = this.layout.tops[this.layout.lineOf[at]] ?? 0;
    if (y < this.scroll.scrollTop || y + LINE > this.scroll.scrollTop + this.scroll.clientHeight)
      this.scroll.scrollTop = Math.max(0, y - this.scroll.clientHeight / 3);
  }

  // Drawing

  _resize() {
    const width = this.scroll.clientWidth;
    this.gutter = width >= ROOMY ? GUTTER : NARROW;
    // The width of the part with the bars.
    this.width = Math.max(0, width - this.gutter);
    this.height = this.scroll.clientHeight;
    // Another view is shown: there is nothing to draw on.
    if (!this.width) return;
    const ratio = Math.min(2, devicePixelRatio || 1);
    for (const [canvas, height] of [
      [this.canvas, this.height],
      [this.axisCanvas, AXIS - 1],
      [this.overview, MAP - 1],
    ]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.getContext("2d", { alpha: false }).setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    // The canvas stays in place, and an empty element of the full height scrolls behind it.
    this.space.style.marginTop = `-${this.height}px`;
    this.draw();
  }

  draw() {
    if (this._asked) return;
    this._asked = requestAnimationFrame(() => {
      this._asked = 0;
      if (!this.width || !this.layout) return;
      this.now = this.page.now;
      this.colours ||= Object.fromEntries(COLOURS.map((name) => [name, colour(name)]));
      paintBars(this, this.canvas.getContext("2d"));
      paintAxis(this, this.axisCanvas.getContext("2d"), AXIS);
      paintMap(this, this.overview.getContext("2d"), MAP);
    });
  }

  // Pointer and keys

  /** Return the place on the axis under the pointer. */
  _placeAt(event) {
    const [from, span] = this.view;
    return from + ((event.clientX - this.canvas.getBoundingClientRect().left - this.gutter) * span) / this.width;
  }

  _at(event) {
    const box = this.canvas.getBoundingClientRect();
    if (event.clientX - box.left < this.gutter) return -1;
    const y = event.clientY - box.top + this.scroll.scrollTop;
    const { run } = this.page;
    const line = this.layout ? this.layout.tops.findIndex((top) => y >= top && y < top + LINE) : -1;
    if (line < 0) return -1;
    const unit = this.view[1] / this.width,
      here = this._placeAt(event);
    const { events, starts, reach } = this.layout.lines[line];
    let best = -1,
      shortest = Infinity,
      nearest = NEAR * unit;
    for (let i = place(starts, here + nearest) - 1, tries = 0; i >= 0 && tries < 400; i -= 1, tries += 1) {
      if (reach[i] < here - NEAR * unit) break;
      const at = events[i],
        long = Math.max(this.endOf(at) - starts[i], (run.failed[at] ? MARK : THIN) * unit),
        off = Math.max(0, starts[i] - here, here - starts[i] - long),
        size = run.failed[at] && long <= SHORT * unit ? 0 : long;
      // Of several at this place, the one that is drawn last.
      if (off > nearest || (off === nearest && size >= shortest)) continue;
      [best, nearest, shortest] = [at, off, size];
    }
    return best;
  }

  _listen() {
    const touches = new Map();
    let moved = 0;
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      touches.set(event.pointerId, event);
      moved = 0;
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const before = touches.get(event.pointerId);
      if (!before) return this._hover(event);
      const [from, span] = this.view;
      moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
      if (touches.size === 2) this._pinch(touches, event);
      else if (moved > 4) {
        this.scroll.classList.add("dragging");
        this.tip.hidden = true;
        this._look(from - ((event.clientX - before.clientX) * span) / this.width, span);
        if (event.pointerType === "mouse") this.scroll.scrollTop -= event.clientY - before.clientY;
      }
      touches.set(event.pointerId, event);
    });
    const up = (event) => {
      if (touches.delete(event.pointerId) && event.type === "pointerup" && moved <= 4) {
        const at = this._at(event);
        // The details that open have more than the tip, which would cover them until the pointer moves on.
        this.clicked = at < 0 ? null : event;
        this.tip.hidden ||= at >= 0;
        const other = at < 0 ? this._otherAt(event) : null;
        if (other) this._show(other);
        else this._choose(at);
      }
      this.scroll.classList.remove("dragging");
    };
    this.canvas.addEventListener("pointerup", up);
    this.canvas.addEventListener("pointercancel", up);
    this.canvas.addEventListener("pointerleave", () => this._hover(null));
    this.canvas.addEventListener("dblclick", (event) => {
      const at = this._at(event);
      if (at < 0) return this.fit();
      const long = Math.max(CLOSEST, this.endOf(at) - this.startOf(at));
      return this._look(this.startOf(at) - long * 0.1, long * 1.2);
    });
    this.scroll.addEventListener("wheel", (event) => this._wheel(event), { passive: false });
    this.canvas.addEventListener("keydown", (event) => this._key(event));
    for (const type of ["focus", "blur"]) this.canvas.addEventListener(type, () => this.draw());
    this._listenToMap();
  }

  _pinch(touches, event) {
    const [a, b] = [...touches.values()];
    const other = a.pointerId === event.pointerId ? b : a,
      before = a.pointerId === event.pointerId ? a : b;
    const was = Math.abs(before.clientX - other.clientX),
      is = Math.abs(event.clientX - other.clientX);
    const box = this.canvas.getBoundingClientRect();
    if (was > 10 && is > 10) this.zoom(was / is, (event.clientX + other.clientX) / 2 - box.left - this.gutter);
  }

  _wheel(event) {
    const [from, span] = this.view;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(
        Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.01),
        event.clientX - this.canvas.getBoundingClientRect().left - this.gutter,
      );
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this._look(from + ((event.deltaX || event.deltaY) * span) / this.width, span);
    }
  }

  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.layout?.lines.length) return;
    const [from, span] = this.view;
    const run = event.shiftKey
      ? {
          ArrowLeft: () => this._look(from - span / 5, span),
          ArrowRight: () => this._look(from + span / 5, span),
          ArrowDown: () => this.scroll.scrollBy(0, 3 * LINE),
          ArrowUp: () => this.scroll.scrollBy(0, -3 * LINE),
        }[event.key]
      : {
          ArrowLeft: () => this._step(-1),
          ArrowRight: () => this._step(1),
          ArrowDown: () => this._turn(1),
          ArrowUp: () => this._turn(-1),
          Home: () => this._step(-Infinity),
          End: () => this._step(Infinity),
          Enter: () => this._choose(this.cursor),
          " ": () => this._choose(this.cursor),
        }[event.key];
    if (!run) return;
    run();
    event.preventDefault();
  }

  /** Move the cursor along its line. */
  _step(by) {
    const { lines, lineOf } = this.layout;
    if (this.cursor < 0) return this._stand(this.page.run.order[0]);
    const { events } = lines[lineOf[this.cursor]],
      index = events.indexOf(this.cursor);
    return this._stand(events[Math.max(0, Math.min(events.length - 1, index + by))]);
  }

  /** Move the cursor to another line, to the bar that is nearest in time. */
  _turn(by) {
    const { lines, lineOf } = this.layout;
    if (this.cursor < 0) return this._stand(this.page.run.order[0]);
    const line = lines[Math.max(0, Math.min(lines.length - 1, lineOf[this.cursor] + by))],
      here = this.startOf(this.cursor),
      index = Math.min(line.events.length - 1, place(line.starts, here));
    const isBefore = index > 0 && here - line.starts[index - 1] < Math.abs(line.starts[index] - here);
    return this._stand(line.events[isBefore ? index - 1 : index]);
  }

  _stand(at) {
    const { run } = this.page;
    this.cursor = at;
    this._reveal(at);
    this.spoken.textContent = [run.titleOf(at), ...this._facts(at)].join(", ");
    this.draw();
  }

  _listenToMap() {
    let began = null;
    const placeOf = (event) => {
      const [from, whole] = this.all;
      return from + ((event.clientX - this.overview.getBoundingClientRect().left - this.gutter) / this.width) * whole;
    };
    const isDrag = (here) => Math.abs(here - began) > this.all[1] / 200;
    this.overview.addEventListener("pointerdown", (event) => {
      began = placeOf(event);
      this.overview.setPointerCapture(event.pointerId);
    });
    this.overview.addEventListener("pointermove", (event) => {
      if (began === null) return;
      const here = placeOf(event);
      if (isDrag(here)) this._look(Math.min(began, here), Math.abs(here - began));
    });
    this.overview.addEventListener("pointerup", (event) => {
      const here = placeOf(event),
        [, span] = this.view;
      if (began !== null && !isDrag(here)) this._look(here - span / 2, span);
      began = null;
    });
    this.overview.addEventListener("dblclick", () => this.fit());
  }

  _choose(at) {
    if (at >= 0) this.page.select(this.page.run.seq[at], { from: "timeline", isStep: true });
  }

  /** Return the facts of an event beside its name. */
  _facts(at) {
    const { run } = this.page;
    return [
      run.kindOf(at),
      run.isBad(at) && (run.tree.holds[at] ? "failed inside" : "failed"),
      run.took[at] < 0
        ? this.page.isUnderWay(at)
          ? `running for ${duration((this.page.now - run.start[at]) / 1e6)}`
          : "did not finish"
        : duration(run.took[at] / 1e6),
      `at ${run.begins(at)}`,
      run.tokens[at] > 0 && `${count(run.tokens[at])} tokens`,
      run.costOf(at),
      run.agentOf(at),
    ].filter(Boolean);
  }

  /** Return the process or the skipped time under the pointer: `{title, facts, from, to}`; null without one. */
  _otherAt(event) {
    if (!this.layout) return null;
    const here = this.axis.time(this._placeAt(event)),
      box = this.canvas.getBoundingClientRect(),
      { begin, axis, now } = this,
      since = (time) => duration(Math.max(0, time - begin) / 1e6);
    const row = Math.floor((event.clientY - box.top + this.scroll.scrollTop - TOP) / LINE),
      band = this.layout.bands[row];
    if (band) {
      const end = band.end ?? now,
        isInside = event.clientX - box.left < this.gutter || (here >= band.start && here <= end);
      const facts = [
        `took part for ${duration((end - band.start) / 1e6)}`,
        `from ${since(band.start)} to ${band.isOpen ? "the end, which it did not record" : since(end)}`,
      ];
      return isInside ? { title: `process ${band.label}`, facts, from: band.start, to: end } : null;
    }
    const gap = event.clientX - box.left < this.gutter ? null : axis.gapAt(here);
    if (!gap) return null;
    const facts = [`from ${since(gap[0])} to ${since(gap[1])}`];
    return { title: `no events for ${duration((gap[1] - gap[0]) / 1e6)}`, facts, from: gap[0], to: gap[1] };
  }

  /** Show a time with a little of what is around it. */
  _show({ from, to }) {
    const start = this.axis.place(from),
      long = Math.max(CLOSEST, this.axis.place(to) - start);
    this._look(start - long * 0.05, long * 1.1);
  }

  _hover(event) {
    const at = event ? this._at(event) : -1;
    if (at !== this.hover) {
      this.hover = at;
      this.draw();
    }
    const other = at < 0 && event ? this._otherAt(event) : null;
    this.canvas.style.cursor = at < 0 && !other ? "" : "pointer";
    const { clientX: x, clientY: y } = this.clicked || {};
    const isStill = this.clicked && event && Math.hypot(event.clientX - x, event.clientY - y) < STILL;
    if (!isStill) this.clicked = null;
    this.tip.hidden = (at < 0 && !other) || Boolean(isStill);
    if (this.tip.hidden) return;
    const [title, facts] = other ? [other.title, other.facts] : [this.page.run.titleOf(at), this._facts(at)];
    this.tip.replaceChildren(make("strong", {}, title), make("br"), make("small", {}, facts.join(" · ")));
    this.tip.style.left = `${Math.min(event.clientX + 14, innerWidth - Math.min(360, this.tip.offsetWidth + 8))}px`;
    this.tip.style.top = `${event.clientY + (event.clientY > innerHeight - 90 ? -60 : 16)}px`;
  }
}
