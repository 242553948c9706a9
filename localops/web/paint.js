// Drawing of the timeline.  The time to draw a frame depends on the pixels, not on the events: bars in the same pixels
// are drawn once, and errors last.

import { duration, STEPS, tick } from "./formats.js";
import { KINDS, kindClass } from "./kinds.js";
import { place } from "./lanes.js";

export const LINE = 20;
export const TOP = 6;
const BAR = 15;
const PAINTED = [...KINDS, "other"];
export const COLOURS = [
  ...PAINTED,
  "ink",
  "soft",
  "line",
  "paper",
  "card",
  "sunk",
  "accent",
  "warn",
  "strong",
  "series",
  "running",
];
const FONT = "11px system-ui, sans-serif";
// Pixels from which a gap is hatched: between many short ones, the bars would be lost.
const WIDE_GAP = 48;
// Pixels of the shortest bar, of the mark of a failure, and of the longest bar that has such a mark.
export const THIN = 1.5;
export const MARK = 3;
export const SHORT = 6;
// Pixels below which a bar is drawn above longer ones.
const NARROW = 4;
// More events than these that begin in one pixel have the colour of most of them; of many, some are looked at, in steps
// that spread over all of them.
const FEW = 3,
  SAMPLE = 48,
  GOLDEN = 0.618034;
// How many times as frequent as the usual kind of a line another one is to be shown.
const CLEARLY = 2;
// Pixels between the beginnings of two labels of the axis.
const APART = 90;

/** Return the place in PAINTED of each kind of a run. */
export const kindNumbers = (run) =>
  run.kinds.map((kind) => (KINDS.includes(kind) ? KINDS.indexOf(kind) : KINDS.length));

/** Draw the visible bars, the names of their lines, and the marks. */
export function paintBars(timeline, pen) {
  const { colours: c, width, height, gutter, scroll } = timeline;
  const [from, span] = timeline.view,
    scale = width / span,
    top = scroll.scrollTop;
  pen.fillStyle = c.card;
  pen.fillRect(0, 0, width + gutter, height);
  pen.save();
  pen.beginPath();
  pen.rect(gutter, 0, width, height);
  pen.clip();
  pen.translate(gutter, 0);
  backdrop(timeline, pen, from, scale);
  const bars = visible(timeline, from, scale, top);
  const each = (lists) => lists.forEach((list, kind) => fill(pen, list, c[PAINTED[kind]]));
  pen.globalAlpha = 0.18;
  each(bars.pale);
  pen.globalAlpha = 1;
  each(bars.wide);
  fill(pen, bars.red, c.error);
  // Short ones last: a long bar that begins beside one would hide it.
  bars.inner.sort((a, b) => b.rect[2] - a.rect[2]).forEach(({ kind, rect }) => fill(pen, rect, c[PAINTED[kind]]));
  each(bars.thin);
  // A failure too short to be visible gets a mark of three pixels, which does not hide its neighbours.
  pen.fillStyle = c.error;
  for (let i = 0; i < bars.marks.length; i += 2) pen.fillRect(bars.marks[i], bars.marks[i + 1] + BAR - 6, MARK, 6);
  for (let i = 0; i < bars.feet.length; i += 3) pen.fillRect(bars.feet[i], bars.feet[i + 1], bars.feet[i + 2], 3);
  unfinished(pen, bars.open, c.card);
  bands(timeline, pen, from, scale, top);
  words(timeline, pen, bars.texts);
  outlines(timeline, pen, from, scale, top);
  moments(timeline, pen, from, scale);
  pen.restore();
  names(timeline, pen, top);
}

/** Return the rectangles of the visible bars, in the order in which they are drawn; and the texts on them. */
function visible(timeline, from, scale, top) {
  const { lines, tops } = timeline.layout;
  const bars = { pale: PAINTED.map(() => []), wide: PAINTED.map(() => []), inner: [], thin: PAINTED.map(() => []) };
  Object.assign(bars, { open: [], red: [], marks: [], feet: [], texts: [] });
  for (let index = 0; index < lines.length; index += 1) {
    const y = tops[index] - top;
    if (y > timeline.height || y + LINE < 0) continue;
    addLine(bars, timeline, index, y, from, scale);
    addFailed(bars, timeline, index, y, from, scale);
  }
  return bars;
}

function addLine(bars, timeline, index, y, from, scale) {
  const { page, layout, lit, width } = timeline,
    { run } = page;
  const { events, starts, reach } = layout.lines[index];
  const last = place(starts, from + width / scale),
    usual = (layout.usual[index] ??= mostFrequent(timeline, events, 0, events.length));
  // The last pixel that has a bar, and the one in which the last bar began.
  let drawn = -1,
    spot = -Infinity;
  for (let i = place(reach, from); i < last;) {
    const at = events[i],
      x = (starts[i] - from) * scale,
      end = (timeline.endOf(at) - from) * scale;
    const left = Math.max(-2, x),
      right = Math.min(width + 2, Math.max(end, x + THIN)),
      isInner = Math.floor(right) <= drawn;
    if (end >= 0 && (!isInner || Math.floor(left) > spot || (lit && lit[at]))) {
      const isThin = right - left < NARROW,
        // Bars that begin in one pixel have one colour; between two pixels, colours would be mixed.
        until = isThin && !lit ? place(starts, from + (Math.floor(left) + 1) / scale) : i,
        kind = until - i > FEW ? mostFrequent(timeline, events, i, until, usual) : (layout.kinds[run.kind[at]] ?? 5),
        rect = isThin
          ? [Math.floor(left), y, Math.max(1, Math.round(right - left))]
          : [left, y, right - left - (right - left > 4 ? 1 : 0)];
      if (lit && !lit[at]) bars.pale[kind].push(...rect);
      else if (isThin) bars.thin[kind].push(...rect);
      else if (isInner) bars.inner.push({ kind, rect });
      else bars.wide[kind].push(...rect);
      const frayed = run.took[at] < 0 ? Math.min(96, (right - left) * 0.4) : 0;
      if (frayed) bars.open.push(right, y, frayed);
      drawn = Math.max(drawn, Math.floor(right));
      spot = Math.floor(left);
      if (right - left > 34) bars.texts.push(at, left, right - frayed, y);
    }
    i += 1;
    // Skip bars that would be drawn in the same pixels; with a filter, a match among them must be drawn.
    if (lit || i >= last || (starts[i] - from) * scale >= drawn) continue;
    const longer = place(reach, from + (drawn + 0.5) / scale),
      later = place(starts, from + (spot + 1) / scale);
    i = Math.min(last, Math.max(i, Math.min(longer, later)));
  }
}

function addFailed(bars, timeline, index, y, from, scale) {
  const { page, layout, lit, width } = timeline,
    { run } = page;
  const failed = layout.failed[index],
    starts = layout.failedStarts[index];
  for (let j = Math.max(0, place(starts, from) - 1), seen = -2; j < failed.length; j += 1) {
    const at = failed[j],
      x = (starts[j] - from) * scale;
    if (x > width) break;
    const right = Math.min(width, Math.max((timeline.endOf(at) - from) * scale, x + MARK));
    if (right < 0 || Math.floor(right) <= seen || (lit && !lit[at])) continue;
    // A bar that only contains a failure keeps its colour, with a red base.
    if (run.tree.holds[at]) bars.feet.push(Math.max(-2, x), y + BAR - 3, right - Math.max(-2, x));
    else if (right - x > SHORT) bars.red.push(Math.max(-2, x), y, right - Math.max(-2, x));
    else bars.marks.push(x, y);
    seen = Math.floor(right);
  }
}

/** Draw gaps with hatching, so that they do not look like work. */
function backdrop(timeline, pen, from, scale) {
  const { colours: c, width, height, axis } = timeline;
  pen.font = FONT;
  for (const [start, end] of timeline.layout.gaps) {
    const x = Math.max(0, (axis.place(start) - from) * scale),
      right = Math.min(width, (axis.place(end) - from) * scale);
    if (right - x < WIDE_GAP && !timeline.skips) continue;
    pen.save();
    pen.beginPath();
    pen.rect(x + 1, 0, right - x - 2, height);
    pen.clip();
    pen.fillStyle = c.sunk;
    pen.fillRect(x, 0, right - x, height);
    pen.strokeStyle = c.line;
    pen.lineWidth = 1;
    pen.beginPath();
    for (let at = x - height; at < right; at += 12) {
      pen.moveTo(at, height);
      pen.lineTo(at + height, 0);
    }
    pen.stroke();
    const took = duration((end - start) / 1e6);
    const label = [`no events for ${took}`, took].find((text) => pen.measureText(text).width + 12 < right - x);
    if (label) {
      const wide = pen.measureText(label).width;
      pen.fillStyle = c.sunk;
      pen.fillRect((x + right - wide) / 2 - 4, height - 22, wide + 8, 16);
      pen.fillStyle = c.soft;
      pen.fillText(label, (x + right - wide) / 2, height - 10);
    }
    pen.restore();
  }
}

/** Draw the time in which each process of a run took part, above the events. */
function bands(timeline, pen, from, scale, top) {
  const { colours: c, axis } = timeline;
  timeline.layout.bands.forEach(({ start, end, isOpen }, index) => {
    const y = TOP + index * LINE - top,
      x = (axis.place(start) - from) * scale,
      right = (axis.place(end ?? timeline.now) - from) * scale;
    pen.fillStyle = c.strong;
    pen.fillRect(x, y + 4, Math.max(2, right - x), BAR - 8);
    if (isOpen) unfinished(pen, [right, y, Math.min(96, (right - x) * 0.4)], c.card);
  });
}

/** Draw the end of unfinished bars with widening gaps. */
function unfinished(pen, list, ground) {
  pen.fillStyle = ground;
  for (let i = 0; i < list.length; i += 3) {
    const [right, y, long] = [list[i], list[i + 1], list[i + 2]];
    for (let back = 0; back < long; back += 6) pen.fillRect(right - back - 4, y, 0.5 + 3.5 * (1 - back / long), BAR);
  }
}

/** Draw the names on bars that are wide enough. */
function words(timeline, pen, list) {
  const { lit, page } = timeline,
    { run } = page;
  pen.font = FONT;
  pen.fillStyle = timeline.colours.paper;
  for (let i = 0; i < list.length; i += 4) {
    const [at, left, right, y] = [list[i], Math.max(0, list[i + 1]), list[i + 2], list[i + 3]];
    if (!lit || lit[at]) pen.fillText(cut(timeline, pen, run.titleOf(at), right - left - 8), left + 4, y + 11);
  }
}

/** Draw the names of lanes and lines in the gutter. */
function names(timeline, pen, top) {
  const { gutter, height, layout, colours: c } = timeline;
  pen.fillStyle = c.line;
  pen.fillRect(gutter - 1, 0, 1, height);
  pen.font = FONT;
  const write = (label, y, style, left = 8) => {
    if (y > height || y + LINE < 0) return;
    pen.fillStyle = style;
    pen.fillText(cut(timeline, pen, label, gutter - left - 8), left, y + 11);
  };
  layout.bands.forEach((band, index) => write(band.label, TOP + index * LINE - top, c.soft));
  const first = new Map(layout.lanes.map((lane) => [lane.from, lane]));
  layout.lines.forEach((line, index) => {
    const y = layout.tops[index] - top,
      lane = first.get(index);
    if (y > height || y + LINE < 0) return;
    if (lane && index) {
      pen.fillStyle = c.line;
      pen.fillRect(0, y - 3, gutter + timeline.width, 1);
    }
    if (lane?.kind) {
      pen.fillStyle = c[kindClass(lane.kind) || "other"];
      pen.fillRect(8, y + 4, 7, 7);
      write(lane.label, y, c.ink, 20);
    } else if (lane) write(lane.label, y, c.ink);
    else if (line.label) write(line.label, y, c.soft, layout.lanes.length ? 18 : 8);
  });
}

/** Return as much of a name as fits; an empty text if that is only a letter or two. */
function cut({ widths }, pen, name, room) {
  if (!widths.has(name)) widths.set(name, pen.measureText(name).width);
  const wide = widths.get(name);
  if (wide <= room) return name;
  const characters = [...name],
    some = Math.floor((characters.length * room) / wide) - 1;
  return some < 2 ? "" : `${characters.slice(0, some).join("")}…`;
}

/** Draw a frame around the bar under the pointer, the bar with the keyboard focus, and the selected one. */
function outlines(timeline, pen, from, scale, top) {
  const { page, layout, colours: c, width } = timeline,
    { run } = page;
  const hasFocus = document.activeElement === timeline.canvas;
  for (const [at, style, wide] of [
    [timeline.hover, c.soft, 1],
    [run.find(page.selected), c.ink, 2],
    [hasFocus ? timeline.cursor : -1, c.accent, 3],
  ]) {
    if (at < 0 || at >= run.n) continue;
    const y = layout.tops[layout.lineOf[at]];
    if (y === undefined) continue;
    const x = Math.max(-4, (timeline.startOf(at) - from) * scale),
      right = Math.min(width + 4, Math.max(x + 3, (timeline.endOf(at) - from) * scale));
    pen.strokeStyle = style;
    pen.lineWidth = wide;
    pen.strokeRect(x - 1, y - top - 1, right - x + 2, BAR + 2);
  }
}

/** Draw lines at the time that it is now, and at that of the video. */
function moments(timeline, pen, from, scale) {
  const { page, axis, width, height, colours: c } = timeline;
  for (const [time, style] of [
    [page.running ? timeline.now : null, c.running],
    [timeline.film.time, c.warn],
  ]) {
    const x = time === null ? -1 : (axis.place(time) - from) * scale;
    if (x < 0 || x > width) continue;
    pen.fillStyle = style;
    pen.fillRect(x, 0, 1.5, height);
  }
}

/**
 * Return the kind of most of the events from one index of a line to another; of many, of some of them. It is that of
 * the line where no other is clearly more frequent: equal shares would make stripes.
 */
function mostFrequent({ layout, page }, events, from, to, usual = -1) {
  const counts = new Uint16Array(PAINTED.length),
    some = Math.min(to - from, SAMPLE);
  let best = 0;
  for (let i = 0; i < some; i += 1) {
    // Not in equal steps: events often repeat in the same order.
    const at = events[from + (some < SAMPLE ? i : Math.floor(((i * GOLDEN) % 1) * (to - from)))],
      kind = layout.kinds[page.run.kind[at]] ?? 5;
    counts[kind] += 1;
    if (counts[kind] > counts[best]) best = kind;
  }
  return usual >= 0 && counts[best] < CLEARLY * counts[usual] ? usual : best;
}

/** Draw the axis: times since the start of the session. */
export function paintAxis(timeline, pen, height) {
  const { axis, begin, width, gutter, colours: c } = timeline,
    [from, span] = timeline.view;
  pen.fillStyle = c.card;
  pen.fillRect(0, 0, width + gutter, height);
  pen.font = FONT;
  const least = (span / 1e6) * (APART / width),
    step = STEPS.find((each) => each >= least) || Math.ceil(least / 86_400) * 86_400;
  const seconds = (spot) => (axis.time(spot) - begin) / 1e6,
    last = seconds(from + span);
  const placeOf = (time) => ((axis.place(time) - from) * width) / span;
  // The labels so far, as [left, right].
  const taken = [];
  const write = (label, left) => {
    const right = left + pen.measureText(label).width + 6;
    if (taken.some((one) => left < one[1] && right > one[0])) return false;
    taken.push([left, right]);
    pen.fillStyle = c.soft;
    pen.fillText(label, gutter + left, 15);
    return true;
  };
  const mark = (time, seconds, isAfterGap = false) => {
    const x = placeOf(time),
      label = tick(Math.abs(seconds) < step / 1e3 ? 0 : seconds, step),
      wide = pen.measureText(label).width;
    // The last label is left of its tick if it does not fit on the right, unless a gap is there.
    const beside = x + 4 + wide <= width ? x + 4 : isAfterGap ? width - wide : x - 4 - wide;
    if (x < 0 || x > width || !write(label, beside)) return;
    pen.fillStyle = c.line;
    pen.fillRect(gutter + x, 0, 1, height);
  };
  // What is skipped, and the time after it, come before the regular ticks.
  for (const [start, end] of axis.gaps) {
    const left = placeOf(start);
    if (left > width || placeOf(end) < 0) continue;
    const label = `⋯ ${duration((end - start) / 1e6)}`;
    // The time after it begins at its end.
    write(label, Math.max(0, Math.min(left, placeOf(end) - pen.measureText(label).width - 4)));
    mark(end, (end - begin) / 1e6, true);
  }
  for (let at = Math.ceil(seconds(from) / step) * step; at <= last; at += step) {
    if (at < -step / 2) continue;
    const time = at * 1e6 + begin,
      gap = axis.gapAt(time);
    // There may be millions of steps in a gap that is skipped.
    if (gap) at = Math.ceil((gap[1] - begin) / 1e6 / step) * step - step;
    else mark(time, at);
  }
}

/** Draw the overview: the number of events over time, failures, and the visible part. */
export function paintMap(timeline, pen, height) {
  const { page, layout, axis, width, gutter, colours: c } = timeline,
    { run } = page;
  const columns = Math.max(1, Math.floor(width / 3)),
    [base, whole] = timeline.all;
  const known = timeline.density;
  if (known?.columns !== columns || known.key !== layout.key || page.running) {
    const counts = new Uint32Array(columns),
      bad = new Uint8Array(columns);
    const columnOf = (moment) => {
      const share = (axis.place(moment) - base) / whole;
      return Math.min(columns - 1, Math.max(0, Math.floor(share * columns)));
    };
    for (let at = 0; at < run.n; at += 1) {
      counts[columnOf(run.start[at])] += 1;
      // A step that failed did so at its end, which may be long after its start.
      if (run.isBad(at)) bad[columnOf(run.end(at, page.now))] = 1;
    }
    timeline.density = { columns, key: layout.key, counts, bad, most: counts.reduce((a, b) => Math.max(a, b), 1) };
  }
  const { counts, bad, most } = timeline.density,
    wide = width / columns;
  pen.fillStyle = c.card;
  pen.fillRect(0, 0, width + gutter, height);
  pen.font = FONT;
  pen.fillStyle = c.soft;
  pen.fillText("Overview", 8, height / 2 + 4);
  pen.save();
  pen.translate(gutter, 0);
  pen.fillStyle = c.sunk;
  pen.fillRect(0, 0, width, height);
  const [from, span] = timeline.view;
  const left = Math.max(0, ((from - base) / whole) * width),
    right = Math.min(width, ((from + span - base) / whole) * width);
  pen.fillStyle = c.card;
  pen.fillRect(left, 0, right - left, height);
  for (let i = 0; i < columns; i += 1) {
    const tall = counts[i] && 4 + (Math.log1p(counts[i]) / Math.log1p(most)) * (height - 12);
    pen.fillStyle = i * wide >= left - wide && i * wide <= right ? c.series : c.other;
    pen.globalAlpha = 0.55;
    pen.fillRect(i * wide, height - tall, wide - 1, tall);
    pen.globalAlpha = 1;
    if (bad[i]) {
      pen.fillStyle = c.error;
      pen.fillRect(i * wide, 0, Math.max(2, wide - 1), 6);
    }
  }
  pen.fillStyle = c.accent;
  if (timeline.span) {
    pen.fillRect(left, 0, 2, height);
    pen.fillRect(right - 2, 0, 2, height);
  }
  pen.restore();
}

function fill(pen, list, style) {
  pen.fillStyle = style;
  for (let i = 0; i < list.length; i += 3) pen.fillRect(list[i], list[i + 1], list[i + 2], BAR);
}
