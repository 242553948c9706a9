// The timeline: every event as a bar on a canvas that can be zoomed and dragged.  The time to draw a frame depends on
// the pixels, not on the events: bars in the same pixels are drawn once, and errors last.

import { colour, make, onTheme } from "./base.js";
import { count, duration, STEPS, tick } from "./formats.js";
import { byAgent, byNesting, gaps, place } from "./lanes.js";

const LINE = 18,
  BAR = 13,
  LABEL = 20,
  TOP = 6;
const KINDS = ["llm", "tool", "agent", "action", "error", "other"];
const COLOURS = [...KINDS, "ink", "soft", "line", "paper", "card", "sunk", "accent", "warn", "accent-ink"];
// Microseconds of the view at the closest zoom.
const CLOSEST = 20;

export class Timeline {
  constructor(page) {
    this.page = page;
    this.by = "agent";
    this.from = 0;
    // 0: the whole session.
    this.span = 0;
    this.layout = null;
    this.hover = -1;
    // Name → its width in pixels.
    this._widths = new Map();
    this._build();
    onTheme(() => {
      this._colours = null;
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
      make("option", { value: "agent" }, "by agent"),
      make("option", { value: "nesting" }, "by nesting"),
    );
    const bar = make(
      "div",
      { class: "bar" },
      this.choice,
      button("−", "Zoom out ( − )", () => this.zoom(1.6)),
      button("+", "Zoom in ( + )", () => this.zoom(0.625)),
      button("Fit", "Everything ( 0 )", () => this.fit()),
    );
    this.overview = make("canvas", { class: "overview", "aria-hidden": "true" });
    this.axis = make("canvas", { class: "axis", "aria-hidden": "true" });
    this.canvas = make("canvas", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "timeline",
      "aria-label":
        "Timeline. Plus and minus zoom, arrows move, j and k go from event to event; " +
        "the tree has the same events as text.",
    });
    this.space = make("div");
    this.scroll = make("div", { class: "scroll" }, this.canvas, this.space);
    this.tip = make("div", { class: "tip", hidden: true });
    this.element = make("div", { class: "pane timeline" }, bar, this.overview, this.axis, this.scroll, this.tip);
    this.scroll.addEventListener("scroll", () => this.draw(), { passive: true });
    this._listen();
  }

  // Content

  changed() {
    this._gather();
    this._resize();
  }

  /** Draw a running session again, whose time axis grows. */
  tick() {
    if (this.element.isConnected) this.draw();
  }

  selected(seq, mine) {
    const at = this.page.run.find(seq);
    if (at >= 0 && !mine && this.layout) this._reveal(at);
    this.draw();
  }

  fit() {
    this.span = 0;
    this.draw();
  }

  _order(by) {
    this.by = by;
    this.changed();
  }

  _gather() {
    const { run } = this.page,
      { now } = this.page;
    if (this.layout?.version === run.version && this.layout.by === this.by) {
      this._lit = null;
      return;
    }
    const layout = this.by === "agent" ? byAgent(run, now) : byNesting(run, now);
    let y = TOP;
    const labels = new Map(layout.lanes.map((lane) => [lane.from, lane.label]));
    const tops = layout.lines.map((_, index) => {
      if (labels.has(index)) y += LABEL;
      const top = y;
      y += LINE;
      return top;
    });
    const kinds = run.kinds.map((kind) => Math.max(0, KINDS.includes(kind) ? KINDS.indexOf(kind) : 5));
    const failed = layout.lines.map((line) => Int32Array.from(line.events.filter((at) => run.isBad(at))));
    this.layout = {
      ...layout,
      tops,
      height: y + TOP,
      version: run.version,
      by: this.by,
      kinds,
      failed,
      gaps: gaps(run, now),
      begin: run.begin,
    };
    this.layout.failedStarts = failed.map((events) => Float64Array.from(events, (at) => run.start[at]));
    this._lit = null;
    this._density = null;
    this.space.style.height = this.scroll.style.height = `${Math.max(0, this.layout.height - 1)}px`;
  }

  /** Which events match the filter, 0 or 1 each; null without a filter. */
  get lit() {
    if (!this.page.filtered) return null;
    if (!this._lit)
      this._lit = Uint8Array.from({ length: this.page.run.n }, (_, at) => (this.page.matches(at) ? 1 : 0));
    return this._lit;
  }

  get begin() {
    return this.layout?.begin || 0;
  }

  /** The whole session with a little room on both sides: [from, span]. */
  get all() {
    const long = Math.max(CLOSEST, this.page.now - this.begin);
    return [this.begin - long * 0.01, long * 1.03];
  }

  get whole() {
    return this.all[1];
  }

  /** The visible part of the time axis: [from, span]. */
  get view() {
    return this.span ? [this.from, this.span] : this.all;
  }

  _look(from, span) {
    const whole = this.whole;
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
    const { run } = this.page;
    const [from, span] = this.view;
    const end = run.end(at, this.page.now),
      start = run.start[at];
    if (end < from || start > from + span || end - start > span)
      this._look(start - Math.max(end - start, span * 0.1), Math.max((end - start) * 3, this.span || span));
    const line = this.layout.lines.findIndex((each) => each.events.includes(at));
    const y = this.layout.tops[line] ?? 0;
    if (y < this.scroll.scrollTop || y + LINE > this.scroll.scrollTop + this.scroll.clientHeight)
      this.scroll.scrollTop = Math.max(0, y - this.scroll.clientHeight / 3);
  }

  // Drawing

  _resize() {
    this.width = this.scroll.clientWidth;
    this.height = this.scroll.clientHeight;
    if (!this.width) return;
    const ratio = Math.min(2, devicePixelRatio || 1);
    for (const [canvas, height] of [
      [this.canvas, this.height],
      [this.axis, 23],
      [this.overview, 43],
    ]) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${this.width}px`;
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
      this._colours ||= Object.fromEntries(COLOURS.map((name) => [name, colour(name)]));
      this._bars();
      this._ticks();
      this._map();
    });
  }

  _bars() {
    const { run } = this.page,
      { lines, tops, kinds, failed, failedStarts } = this.layout;
    const c = this._colours,
      pen = this.canvas.getContext("2d"),
      now = this.page.now;
    const [from, span] = this.view,
      scale = this.width / span,
      top = this.scroll.scrollTop;
    pen.fillStyle = c.card;
    pen.fillRect(0, 0, this.width, this.height);
    this._backdrop(pen, from, scale);
    const dim = this.lit;
    const rects = KINDS.map(() => []),
      pale = KINDS.map(() => []),
      open = [],
      red = [],
      marks = [],
      feet = [],
      texts = [];
    for (let index = 0; index < lines.length; index += 1) {
      const y = tops[index] - top;
      if (y > this.height || y + LINE < 0) continue;
      const { events, starts, reach } = lines[index];
      let i = place(reach, from),
        drawn = -1;
      const last = place(starts, from + span);
      while (i < last) {
        const at = events[i],
          x = (run.start[at] - from) * scale,
          end = (run.end(at, now) - from) * scale;
        if (end >= 0) {
          const left = Math.max(-2, x),
            right = Math.min(this.width + 2, Math.max(end, x + 1.5));
          const bucket = dim && !dim[at] ? pale : rects;
          if (Math.floor(right) > drawn || (dim && dim[at])) {
            bucket[kinds[run.kind[at]] ?? 5].push(left, y, Math.max(1.5, right - left - (right - left > 4 ? 1 : 0)));
            const frayed = run.took[at] < 0 ? Math.min(96, (right - left) * 0.4) : 0;
            if (frayed) open.push(right, y, frayed);
            drawn = Math.floor(right);
            if (right - left > 34) texts.push(at, left, right - frayed, y);
          }
        }
        // Skip bars that would be drawn in the same pixels; with a filter, a match among them must be drawn.
        i += 1;
        if (!dim && i < last && (starts[i] - from) * scale < drawn) {
          const skip = place(reach, from + (drawn + 0.5) / scale);
          if (skip > i) i = Math.min(last, skip);
        }
      }
      for (let j = Math.max(0, place(failedStarts[index], from) - 1), seen = -2; j < failed[index].length; j += 1) {
        const at = failed[index][j],
          x = (run.start[at] - from) * scale;
        if (x > this.width) break;
        const right = Math.min(this.width, Math.max((run.end(at, now) - from) * scale, x + 3));
        if (right < 0 || Math.floor(right) <= seen || (dim && !dim[at])) continue;
        // What only holds a failure keeps its colour, with a red foot.
        if (run.tree.holds[at]) feet.push(Math.max(-2, x), y + BAR - 3, right - Math.max(-2, x));
        else if (right - x > 6) red.push(Math.max(-2, x), y, right - Math.max(-2, x));
        else marks.push(x, y);
        seen = Math.floor(right);
      }
    }
    pen.globalAlpha = 0.18;
    pale.forEach((list, kind) => fill(pen, list, c[KINDS[kind]]));
    pen.globalAlpha = 1;
    rects.forEach((list, kind) => fill(pen, list, c[KINDS[kind]]));
    this._unfinished(pen, open);
    // A failure too short to be visible gets a mark of three pixels, which does not hide its neighbours.
    fill(pen, red, c.error);
    pen.fillStyle = c.error;
    for (let i = 0; i < marks.length; i += 2) pen.fillRect(marks[i], marks[i + 1] + BAR - 5, 3, 5);
    for (let i = 0; i < feet.length; i += 3) pen.fillRect(feet[i], feet[i + 1], feet[i + 2], 3);
    this._words(pen, texts);
    this._labels(pen, top);
    this._outline(pen, from, scale, top);
    this._nowLine(pen, (now - from) * scale);
  }

  /** Draw gaps with hatching, so that they do not look like work. */
  _backdrop(pen, from, scale) {
    const c = this._colours;
    for (const [start, end] of this.layout.gaps) {
      const x = Math.max(0, (start - from) * scale),
        right = Math.min(this.width, (end - from) * scale);
      if (right - x < 8) continue;
      pen.save();
      pen.beginPath();
      pen.rect(x + 1, 0, right - x - 2, this.height);
      pen.clip();
      pen.fillStyle = c.sunk;
      pen.fillRect(x, 0, right - x, this.height);
      pen.strokeStyle = c.line;
      pen.lineWidth = 1;
      pen.beginPath();
      for (let at = x - this.height; at < right; at += 12) {
        pen.moveTo(at, this.height);
        pen.lineTo(at + this.height, 0);
      }
      pen.stroke();
      const label = `no events for ${duration((end - start) / 1e6)}`;
      pen.font = "11px system-ui, sans-serif";
      const wide = pen.measureText(label).width;
      if (right - x > wide + 16) {
        pen.fillStyle = c.sunk;
        pen.fillRect((x + right - wide) / 2 - 4, this.height - 22, wide + 8, 16);
        pen.fillStyle = c.soft;
        pen.fillText(label, (x + right - wide) / 2, this.height - 10);
      }
      pen.restore();
    }
  }

  /** Draw the end of unfinished bars with widening gaps. */
  _unfinished(pen, list) {
    pen.fillStyle = this._colours.card;
    for (let i = 0; i < list.length; i += 3) {
      const [right, y, long] = [list[i], list[i + 1], list[i + 2]];
      for (let back = 0; back < long; back += 6) pen.fillRect(right - back - 4, y, 0.5 + 3.5 * (1 - back / long), BAR);
    }
  }

  _words(pen, list) {
    const { run } = this.page;
    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = this._colours.paper;
    for (let i = 0; i < list.length; i += 4) {
      const [at, left, right, y] = [list[i], Math.max(0, list[i + 1]), list[i + 2], list[i + 3]];
      if (!this.lit || this.lit[at])
        pen.fillText(this._cut(pen, run.nameOf(at) || run.kindOf(at), right - left - 8), left + 4, y + 10);
    }
  }

  /** Return as much of a name as fits; an empty text if that is only a letter or two. */
  _cut(pen, name, room) {
    if (!this._widths.has(name)) this._widths.set(name, pen.measureText(name).width);
    const wide = this._widths.get(name);
    if (wide <= room) return name;
    const characters = [...name],
      some = Math.floor((characters.length * room) / wide) - 1;
    return some < 2 ? "" : `${characters.slice(0, some).join("")}…`;
  }

  _labels(pen, top) {
    pen.font = "600 11px system-ui, sans-serif";
    for (const lane of this.layout.lanes) {
      const y = this.layout.tops[lane.from] - top - LABEL;
      if (y > this.height || y < -LABEL) continue;
      pen.fillStyle = this._colours.line;
      pen.fillRect(0, y + 1, this.width, 1);
      pen.fillStyle = this._colours.soft;
      pen.fillText(lane.label.slice(0, 80), 8, y + 14);
    }
  }

  _outline(pen, from, scale, top) {
    const { run } = this.page;
    const at = run.find(this.page.selected);
    for (const [each, style, wide] of [
      [this.hover, this._colours.soft, 1],
      [at, this._colours.ink, 2],
    ]) {
      if (each < 0 || each >= run.n) continue;
      const line = this.layout.lines.findIndex((one) => has(one, each, run));
      if (line < 0) continue;
      const x = Math.max(-4, (run.start[each] - from) * scale),
        right = Math.min(this.width + 4, Math.max(x + 3, (run.end(each, this.page.now) - from) * scale));
      pen.strokeStyle = style;
      pen.lineWidth = wide;
      pen.strokeRect(x - 1, this.layout.tops[line] - top - 1, right - x + 2, BAR + 2);
    }
  }

  _nowLine(pen, x) {
    if (!this.page.running || x < 0 || x > this.width) return;
    pen.fillStyle = this._colours.accent;
    pen.fillRect(x, 0, 1.5, this.height);
  }

  _ticks() {
    const pen = this.axis.getContext("2d"),
      [from, span] = this.view,
      c = this._colours;
    pen.fillStyle = c.card;
    pen.fillRect(0, 0, this.width, 24);
    pen.font = "11px system-ui, sans-serif";
    const least = (span / 1e6) * (90 / this.width),
      step = STEPS.find((each) => each >= least) || Math.ceil(least / 86_400) * 86_400;
    for (
      let at = Math.ceil((from - this.begin) / 1e6 / step) * step;
      at <= (from + span - this.begin) / 1e6;
      at += step
    ) {
      if (at < -step / 2) continue;
      const x = ((at * 1e6 + this.begin - from) * this.width) / span;
      pen.fillStyle = c.line;
      pen.fillRect(x, 0, 1, 24);
      pen.fillStyle = c.soft;
      const label = tick(Math.abs(at) < step / 1e3 ? 0 : at, step),
        wide = pen.measureText(label).width;
      // The last label stands before its tick if it does not fit behind it.
      pen.fillText(label, x + 4 + wide > this.width ? x - 4 - wide : x + 4, 15);
    }
  }

  /** Draw the overview: the number of events over time, failures, and the visible part. */
  _map() {
    const { run } = this.page,
      c = this._colours,
      pen = this.overview.getContext("2d"),
      height = 43;
    const columns = Math.max(1, Math.floor(this.width / 3)),
      [base, whole] = this.all;
    if (
      !this._density ||
      this._density.columns !== columns ||
      this._density.version !== run.version ||
      this.page.running
    ) {
      const counts = new Uint32Array(columns),
        bad = new Uint8Array(columns);
      for (let at = 0; at < run.n; at += 1) {
        const column = Math.min(columns - 1, Math.max(0, Math.floor(((run.start[at] - base) / whole) * columns)));
        counts[column] += 1;
        if (run.isBad(at)) bad[column] = 1;
      }
      this._density = { columns, version: run.version, counts, bad, most: counts.reduce((a, b) => Math.max(a, b), 1) };
    }
    const { counts, bad, most } = this._density,
      wide = this.width / columns;
    pen.fillStyle = c.sunk;
    pen.fillRect(0, 0, this.width, height);
    const [from, span] = this.view;
    const left = Math.max(0, ((from - base) / whole) * this.width),
      right = Math.min(this.width, ((from + span - base) / whole) * this.width);
    pen.fillStyle = c.card;
    pen.fillRect(left, 0, right - left, height);
    for (let i = 0; i < columns; i += 1) {
      if (!counts[i]) continue;
      const tall = 4 + (Math.log1p(counts[i]) / Math.log1p(most)) * (height - 12);
      pen.fillStyle = i * wide >= left - wide && i * wide <= right ? c.accent : c.other;
      pen.globalAlpha = 0.55;
      pen.fillRect(i * wide, height - tall, wide - 1, tall);
      pen.globalAlpha = 1;
      if (bad[i]) {
        pen.fillStyle = c.error;
        pen.fillRect(i * wide, 0, Math.max(2, wide - 1), 6);
      }
    }
    pen.fillStyle = c.accent;
    if (this.span) {
      pen.fillRect(left, 0, 2, height);
      pen.fillRect(right - 2, 0, 2, height);
    }
  }

  // Pointer and keys

  _at(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left,
      y = event.clientY - box.top + this.scroll.scrollTop;
    const { run } = this.page;
    const line = this.layout ? this.layout.tops.findIndex((top) => y >= top && y < top + LINE) : -1;
    if (line < 0) return -1;
    const [from, span] = this.view,
      unit = span / this.width,
      time = from + x * unit;
    const { events, starts } = this.layout.lines[line];
    let best = -1,
      nearest = 4 * unit;
    for (let i = place(starts, time + 4 * unit) - 1, tries = 0; i >= 0 && tries < 400; i -= 1, tries += 1) {
      const at = events[i],
        off = Math.max(0, run.start[at] - time, time - run.end(at, this.page.now));
      const better = off < nearest || (off === nearest && run.failed[at]);
      if (better) [best, nearest] = [at, off];
      if (best >= 0 && off === 0 && !run.failed[best] && unit * 3 < run.end(at) - run.start[at]) break;
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
      if (touches.delete(event.pointerId) && event.type === "pointerup" && moved <= 4) this._choose(this._at(event));
      this.scroll.classList.remove("dragging");
    };
    this.canvas.addEventListener("pointerup", up);
    this.canvas.addEventListener("pointercancel", up);
    this.canvas.addEventListener("pointerleave", () => this._hover(null));
    this.canvas.addEventListener("dblclick", (event) => {
      const at = this._at(event);
      if (at < 0) return this.fit();
      const { run } = this.page,
        long = Math.max(CLOSEST, run.end(at, this.page.now) - run.start[at]);
      return this._look(run.start[at] - long * 0.1, long * 1.2);
    });
    this.scroll.addEventListener("wheel", (event) => this._wheel(event), { passive: false });
    this.canvas.addEventListener("keydown", (event) => this._key(event));
    this._listenToMap();
  }

  _pinch(touches, event) {
    const [a, b] = [...touches.values()];
    const other = a.pointerId === event.pointerId ? b : a,
      before = a.pointerId === event.pointerId ? a : b;
    const was = Math.abs(before.clientX - other.clientX),
      is = Math.abs(event.clientX - other.clientX);
    const box = this.canvas.getBoundingClientRect();
    if (was > 10 && is > 10) this.zoom(was / is, (event.clientX + other.clientX) / 2 - box.left);
  }

  _wheel(event) {
    const [from, span] = this.view;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(
        Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.01),
        event.clientX - this.canvas.getBoundingClientRect().left,
      );
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this._look(from + ((event.deltaX || event.deltaY) * span) / this.width, span);
    }
  }

  _key(event) {
    const [from, span] = this.view;
    const run = {
      ArrowLeft: () => this._look(from - span / 5, span),
      ArrowRight: () => this._look(from + span / 5, span),
      ArrowDown: () => this.scroll.scrollBy(0, 3 * LINE),
      ArrowUp: () => this.scroll.scrollBy(0, -3 * LINE),
    }[event.key];
    if (!run || event.ctrlKey || event.metaKey || event.altKey) return;
    run();
    event.preventDefault();
  }

  _listenToMap() {
    let began = null;
    const time = (event) =>
      this.all[0] + ((event.clientX - this.overview.getBoundingClientRect().left) / this.width) * this.whole;
    this.overview.addEventListener("pointerdown", (event) => {
      began = time(event);
      this.overview.setPointerCapture(event.pointerId);
    });
    this.overview.addEventListener("pointermove", (event) => {
      if (began === null) return;
      const here = time(event);
      if (Math.abs(here - began) > this.whole / 200) this._look(Math.min(began, here), Math.abs(here - began));
    });
    this.overview.addEventListener("pointerup", (event) => {
      const here = time(event),
        [, span] = this.view;
      if (began !== null && Math.abs(here - began) <= this.whole / 200) this._look(here - span / 2, span);
      began = null;
    });
    this.overview.addEventListener("dblclick", () => this.fit());
  }

  _choose(at) {
    if (at >= 0) this.page.select(this.page.run.seq[at], { from: "timeline" });
  }

  _hover(event) {
    const at = event ? this._at(event) : -1;
    if (at !== this.hover) {
      this.hover = at;
      this.draw();
    }
    this.canvas.style.cursor = at < 0 ? "" : "pointer";
    this.tip.hidden = at < 0;
    if (at < 0) return;
    const { run } = this.page;
    this.tip.replaceChildren(
      make("strong", {}, run.nameOf(at) || run.kindOf(at)),
      make("br"),
      make(
        "small",
        {},
        [
          run.kindOf(at),
          run.failed[at] && "failed",
          run.took[at] < 0 ? "not finished" : duration(run.took[at] / 1e6),
          `at ${duration((run.start[at] - this.begin) / 1e6)}`,
          run.tokens[at] > 0 && `${count(run.tokens[at])} tokens`,
          run.costOf(at),
          run.agentOf(at),
        ]
          .filter(Boolean)
          .join(" · "),
      ),
    );
    this.tip.style.left = `${Math.min(event.clientX + 14, innerWidth - Math.min(360, this.tip.offsetWidth + 8))}px`;
    this.tip.style.top = `${event.clientY + (event.clientY > innerHeight - 90 ? -60 : 16)}px`;
  }
}

function has(line, at, run) {
  for (let i = place(line.starts, run.start[at]); i < line.events.length && line.starts[i] === run.start[at]; i += 1) {
    if (line.events[i] === at) return true;
  }
  return false;
}

function fill(pen, list, style) {
  pen.fillStyle = style;
  for (let i = 0; i < list.length; i += 3) pen.fillRect(list[i], list[i + 1], list[i + 2], BAR);
}
