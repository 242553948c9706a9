// Charts: uPlot for figures over time, tables with bars for the others.

import { colour, make, onTheme } from "./base.js";
import { isReport } from "./clock.js";
import { STEPS, trimmed } from "./formats.js";
import { file } from "./url.js";

const DAY = 86_400;
const DAYS = STEPS.filter((step) => step >= DAY);
const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((factor) => factor * 10 ** power)).flat();

// Heights in pixels: of a legend before it is drawn, and of the axis below a chart.
const LEGEND = 44,
  AXIS = 36;

let loading;

/** Load uPlot when the first chart is drawn. */
function loaded() {
  // A report has it inside.
  if (isReport) return Promise.resolve(window.uPlot);
  loading ||= new Promise((done, failed) => {
    document.head.append(
      make("link", { rel: "stylesheet", href: file("vendor/uplot.css") }),
      make("script", { src: file("vendor/uplot.js"), onload: () => done(window.uPlot), onerror: failed }),
    );
  });
  return loading;
}

/** Return a box with a title, for a chart or a table. */
export const box = (title, ...inside) =>
  make("section", { class: "chart", "data-id": title }, make("h2", {}, title), ...inside);

// A value is an outlier if it exceeds the upper quartile by more than this factor.
const FAR = 3;
// If more than one in this many values qualifies, none counts as an outlier.
const RARE = 6;

/** Return the greatest value that is no outlier: an outlier on the scale would make all other bars look equal. */
function topOf(values) {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b);
  const bound = FAR * (known[Math.ceil(known.length * 0.75) - 1] ?? 0);
  const usual = known.filter((value) => value <= bound);
  return usual.length && usual.length >= known.length * (1 - 1 / RARE) ? usual.at(-1) : (known.at(-1) ?? 0);
}

/** The charts of one view.  One that is drawn again keeps its element and its canvas; one that is not is released. */
export class Charts {
  constructor() {
    this.known = new Map();
    this.used = new Set();
  }

  /** Return the element of a chart, known by its title; see Plot. */
  plot(facts) {
    this.used.add(facts.title);
    let plot = this.known.get(facts.title);
    if (plot) plot.update(facts);
    else this.known.set(facts.title, (plot = new Plot(facts)));
    return plot.element;
  }

  /** Release the charts that were not drawn since the last call. */
  sweep() {
    for (const [title, plot] of this.known) {
      if (this.used.has(title)) continue;
      plot.dispose();
      this.known.delete(title);
    }
    this.used.clear();
  }
}

/**
 * A chart of bars or lines over days, or over other numbers with ticks at `steps`. `series` are
 * `{label, values, colour}` with integer values, one above the other if `stacked`. A click calls
 * `chosen(index, label)`, with the label of the series under the pointer, if any. Values are shown beside the pointer;
 * with the focus, arrow keys move it from value to value, and Enter clicks.
 * Where there is `brushed(from, to)`, dragging across the chart calls it with the first and the last index. `kind` is a
 * class of the box. With `clips`, outliers are above the scale, and named below the chart.
 */
class Plot {
  constructor(facts) {
    const keys = `arrow keys: values${facts.chosen ? "; Enter: open" : ""}`;
    this.place = make("div", { class: "plot", role: "group", tabindex: 0, "aria-label": `${facts.title} (${keys})` });
    this.place.addEventListener("keydown", (event) => this._key(event));
    this.place.addEventListener("blur", () => this._leave());
    this.spoken = make("p", { class: "visually-hidden", "aria-live": "polite" });
    this.note = make("p", { class: "faint", hidden: true });
    this.tip = make("div", { class: "tip", hidden: true });
    this.above = make("p", { class: "faint above", hidden: true });
    this.element = box(facts.title, this.note, this.place, this.above, this.spoken);
    if (facts.kind) this.element.classList.add(facts.kind);
    this.chart = null;
    // The value that the keys have reached.
    this.at = null;
    this._set(facts);
    this.watch = new ResizeObserver(() => (this.chart ? this._fit() : this._draw()));
    this.watch.observe(this.place);
    this.leave = onTheme(() => this.chart && this.place.isConnected && this._draw());
  }

  /** Show other values; of the same series without making another canvas. */
  update(facts) {
    const form = ({ series, stacked }) => JSON.stringify([series.map((each) => [each.label, each.colour]), stacked]);
    const isSame = form({ stacked: false, ...facts }) === form(this.facts);
    const before = JSON.stringify(this._columns());
    this._set(facts);
    if (!this.chart) return;
    const columns = this._columns();
    if (!isSame) this._draw();
    else if (JSON.stringify(columns) !== before) this.chart.setData(columns);
  }

  dispose() {
    this.watch.disconnect();
    this.leave();
    this.chart?.destroy();
    this.chart = null;
  }

  _set(facts) {
    const time = facts.time ?? true;
    this.facts = {
      label: "day",
      bars: true,
      stacked: false,
      xText: null,
      // The text below the axis, if that of a value is too long there.
      axisText: null,
      xSpace: 70,
      yText: String,
      chosen: null,
      brushed: null,
      clips: false,
      height: 220,
      steps: time ? DAYS : WHOLE,
      ...facts,
      time,
    };
    // With its legend, so that content below does not move when the chart appears.
    this.legend ??= this.facts.series.length > 1 ? LEGEND : 0;
    this.place.style.minHeight = `${this.facts.height + this.legend}px`;
    this.note.hidden = !facts.note;
    this.note.textContent = facts.note ?? "";
    this._nameOutliers();
  }

  /** Name the values that are above the scale, each with its way to where a click on it leads. */
  _nameOutliers() {
    const { clips, x, series, chosen, yText } = this.facts;
    const values = series[0].values;
    this.top = clips ? topOf(values) : null;
    const above = clips ? values.map((value, index) => ({ value, index })).filter(({ value }) => value > this.top) : [];
    this.above.hidden = !above.length;
    const links = above.map(({ value, index }) =>
      make(
        "button",
        { type: "button", class: "link", onclick: () => chosen(index) },
        `${dayOf(x[index])} ${yText(value)}`,
      ),
    );
    this.above.replaceChildren("Above the scale: ", ...links.flatMap((each, at) => (at ? [", ", each] : [each])));
  }

  async _draw() {
    const plotter = await loaded();
    if (!this.place.clientWidth) return;
    this.chart?.destroy();
    this.chart = new plotter(this._options(plotter), this._columns(), this.place);
    name(this.place, this.facts.title, this.facts.chosen);
    this._fit();
    // uPlot places its values after this.
    queueMicrotask(() => this._return());
  }

  /** Take the focus again, at the value that a key opened, when the reader comes back from there. */
  _return() {
    const { chart, ...others } = history.state ?? {};
    if (chart?.title !== this.facts.title || !this.facts.chosen) return;
    // Only once: not if the page is loaded again later.
    history.replaceState(others, "");
    if (document.activeElement && document.activeElement !== document.body) return;
    this.place.focus();
    if (chart.at < this.facts.x.length) this._show(chart.at);
  }

  /** Fill the place with the chart and its legend; the place is as high as the highest one in its row. */
  _fit() {
    const { place, chart, facts } = this;
    if (!place.clientWidth) return;
    this.legend = chart.root.querySelector(".u-legend")?.offsetHeight ?? 0;
    place.style.minHeight = `${facts.height + this.legend}px`;
    const [width, height] = [place.clientWidth, place.clientHeight - this.legend];
    if (width !== chart.width || height !== chart.height) chart.setSize({ width, height });
  }

  _columns() {
    const { x, series, stacked } = this.facts;
    if (!stacked) return [x, ...series.map((each) => each.values)];
    const sums = x.map(() => 0);
    // Later series are drawn over earlier ones, so the tallest sum comes first.
    return [x, ...series.map((each) => each.values.map((value, i) => (sums[i] += value || 0))).reverse()];
  }

  _options(plotter) {
    const { series, bars, stacked, time, height, steps, brushed } = this.facts;
    // Values and texts may have changed when the function is called.
    const xText = (value) => this.facts.xText?.(value),
      yText = (value) => this.facts.yText(value);
    const hasText = this.facts.xText !== null;
    const axis = {
      stroke: colour("soft"),
      grid: { stroke: colour("line"), width: 1 },
      ticks: { stroke: colour("line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    return {
      width: this.place.clientWidth,
      height,
      tzDate: (at) => plotter.tzDate(new Date(at * 1e3), "Etc/UTC"),
      // Room for half of the last label of the axis.
      padding: [null, this.facts.xSpace * 0.4, null, null],
      cursor: { drag: { x: Boolean(brushed), y: false, setScale: false, dist: 6 }, points: { show: !bars } },
      legend: { live: false, show: series.length > 1 },
      scales: {
        x: { time, range: bars || this.facts.x.length === 1 ? () => edges(this.facts.x, time ? DAY : 1) : undefined },
        y: { range: (_, low, high) => [0, (this.top ?? high) > 0 ? (this.top ?? high) * 1.08 : 1] },
      },
      axes: [
        {
          ...axis,
          size: AXIS,
          incrs: steps,
          space: this.facts.xSpace,
          values: (_, all) => all.map(this.facts.axisText ?? (hasText ? xText : dayOf)),
        },
        {
          ...axis,
          incrs: WHOLE,
          space: (_plotted, _axis, _low, _high, pixels) => pixels / 5.5,
          size: (_, all) => room(all || []),
          values: (_, all) => all.map((value) => (value === null ? "" : trimmed(yText(value)))),
        },
      ],
      series: [
        {},
        ...(stacked ? [...series].reverse() : series).map((each) => ({
          label: each.label,
          stroke: colour(each.colour),
          fill: bars ? colour(each.colour) : undefined,
          width: bars ? 0 : 2,
          // A day without a value is no end of a line.
          spanGaps: !bars,
          points: { show: !bars && this.facts.x.length < 3 },
          paths: bars ? plotter.paths.bars({ size: [0.85, 60], align: 0 }) : undefined,
        })),
      ],
      hooks: {
        ready: [
          (plotted) => {
            plotted.over.addEventListener("click", () => this._click(plotted));
            plotted.over.append(this.tip);
            // As they were given: the last one is drawn first.
            const legend = stacked && plotted.root.querySelector(".u-legend tbody");
            if (legend) legend.append(...[...legend.children].reverse());
          },
        ],
        setCursor: [(plotted) => this._point(plotted)],
        setSelect: [(plotted) => this._brush(plotted)],
      },
    };
  }

  /** Move from value to value by keys, and choose one. */
  _key(event) {
    if (event.target !== this.place || event.ctrlKey || event.metaKey || event.altKey || !this.chart) return;
    const { x, chosen } = this.facts,
      last = x.length - 1;
    if (event.key === "Enter" && chosen && this.at !== null) {
      event.preventDefault();
      history.replaceState({ ...history.state, chart: { title: this.facts.title, at: this.at } }, "");
      return void chosen(this.at);
    }
    const next = {
      ArrowRight: Math.min(last, (this.at ?? -1) + 1),
      ArrowLeft: Math.max(0, (this.at ?? last + 1) - 1),
      Home: 0,
      End: last,
    }[event.key];
    if (next === undefined || last < 0) return;
    event.preventDefault();
    this._show(next);
  }

  /** Show and speak one value. */
  _show(at) {
    this.at = at;
    this.chart.setCursor({ left: this.chart.valToPos(this.facts.x[at], "x"), top: this.chart.over.clientHeight / 2 });
    const lines = [...this.tip.children]
      .slice(1)
      .map(({ children: [, label, value] }) => `${label.textContent} ${value.textContent}`);
    const values = lines.reverse().join(", ") || this.facts.yText(0);
    this.spoken.textContent = `${this.tip.firstChild.textContent}: ${values}`;
  }

  _leave() {
    this.at = null;
    this.spoken.textContent = "";
    this.chart?.setCursor({ left: -10, top: -10 });
  }

  /** Show the values at the pointer beside it. */
  _point({ cursor: { idx, left }, over }) {
    const { x, series, label, time } = this.facts;
    this.tip.hidden = idx === null || idx === undefined || left < 0;
    if (this.tip.hidden) return;
    const at = this.facts.xText
      ? this.facts.xText(x[idx])
      : time
        ? new Date(x[idx] * 1e3).toISOString().slice(0, 10)
        : `${label} ${x[idx]}`;
    const isOne = series.length === 1;
    const lines = series
      .filter((each) => isOne || each.values[idx])
      .map((each) => {
        const dot = make("i", { "aria-hidden": "true" });
        dot.style.background = `var(--${each.colour})`;
        return make("div", {}, dot, make("span", {}, each.label), make("b", {}, this.facts.yText(each.values[idx])));
      })
      .reverse();
    this.tip.replaceChildren(make("div", { class: "faint" }, at), ...lines);
    const isRight = left > over.clientWidth / 2;
    this.tip.style.left = isRight ? "auto" : `${left + 14}px`;
    this.tip.style.right = isRight ? `${over.clientWidth - left + 14}px` : "auto";
  }

  /** Choose the bars that were dragged across. */
  _brush(plotted) {
    const { left, width } = plotted.select;
    if (!width || !this.facts.brushed) return;
    plotted.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    // The click that ends it chooses nothing.
    this.wasDragged = true;
    setTimeout(() => (this.wasDragged = false));
    const { x, time } = this.facts;
    const half = (x.length > 1 ? x[1] - x[0] : time ? DAY : 1) / 2;
    const [low, high] = [plotted.posToVal(left, "x"), plotted.posToVal(left + width, "x")];
    const met = x.map((_, index) => index).filter((index) => x[index] + half > low && x[index] - half < high);
    if (met.length) this.facts.brushed(met[0], met.at(-1));
  }

  _click({ cursor: { idx, top }, posToVal }) {
    const { chosen, series, stacked } = this.facts;
    if (!chosen || idx === null || this.wasDragged) return;
    const at = posToVal(top, "y");
    let sum = 0;
    const met = series.find((each) => (sum = (stacked ? sum : 0) + (each.values[idx] || 0)) >= at);
    chosen(idx, met?.label);
  }
}

/** Return the width of an axis of values: the longest label, as wide as 12 pixels make its digits, and the tick. */
const room = (labels) => Math.max(46, 22 + 7.2 * Math.max(0, ...labels.map((each) => each.length)));

const shortDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const dayOf = (seconds) => shortDay.format(seconds * 1e3);

/** Return the range of the axis, with room for half a bar on each side. */
function edges(x, alone) {
  const step = x.length > 1 ? x[1] - x[0] : alone;
  return x.length ? [x[0] - step * 0.6, x.at(-1) + step * 0.6] : [0, 1];
}

function name(place, title, chosen) {
  place.querySelector("canvas")?.setAttribute("aria-hidden", "true");
  place.querySelector(".u-legend")?.setAttribute("aria-label", title);
  if (chosen) place.querySelector(".u-over").style.cursor = "pointer";
}
