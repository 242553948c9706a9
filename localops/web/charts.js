// Charts: uPlot for figures over time, tables with bars for the others.

import { colour, make, onTheme } from "./base.js";
import { STEPS } from "./formats.js";
import { url } from "./url.js";

const DAY = 86_400;
const DAYS = STEPS.filter((step) => step >= DAY);
const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((factor) => factor * 10 ** power)).flat();

let loading;

/** Load uPlot when the first chart is drawn. */
function plotter() {
  loading ||= new Promise((done, failed) => {
    document.head.append(
      make("link", { rel: "stylesheet", href: url("web/vendor/uplot.css") }),
      make("script", { src: url("web/vendor/uplot.js"), onload: () => done(window.uPlot), onerror: failed }),
    );
  });
  return loading;
}

/** Return a box with a title, for a chart or a table. */
export const box = (title, ...inside) => make("section", { class: "chart" }, make("h2", {}, title), ...inside);

/**
 * Draw a chart of bars or lines over days, or over other numbers with ticks at `steps`. `series` are
 * `{label, values, colour}` with integer values, one above the other if `stacked`. A click calls
 * `chosen(index, label)`, with the label of the series under the pointer, if any. The legend shows its values.
 */
export function plot({
  title,
  label = "day",
  x,
  series,
  bars = true,
  stacked = false,
  time = true,
  xText = null,
  yText = String,
  chosen = null,
  height = 220,
  steps = time ? DAYS : WHOLE,
}) {
  const place = make("div", { class: "plot" });
  const element = box(title, place);
  let chart = null;
  const draw = async () => {
    const Plot = await plotter();
    if (!place.clientWidth) return;
    chart?.destroy();
    chart = new Plot(options(Plot), columns(), place);
    name(place, title, chosen);
  };
  const columns = () => {
    if (!stacked) return [x, ...series.map((each) => each.values)];
    const sums = x.map(() => 0);
    // Later series are drawn over earlier ones, so the tallest sum comes first.
    return [x, ...series.map((each) => each.values.map((value, i) => (sums[i] += value || 0))).reverse()];
  };
  const options = (Plot) => {
    const drawn = stacked ? [...series].reverse() : series;
    const axis = {
      stroke: colour("soft"),
      grid: { stroke: colour("line"), width: 1 },
      ticks: { stroke: colour("line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    return {
      width: place.clientWidth,
      height,
      tzDate: (at) => Plot.tzDate(new Date(at * 1e3), "Etc/UTC"),
      cursor: { drag: { x: false, y: false }, points: { show: !bars } },
      scales: {
        x: { time, range: bars ? () => edges(x, time ? DAY : 1) : undefined },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        { ...axis, incrs: steps, space: 70, values: (_, all) => all.map(xText || dayOf) },
        {
          ...axis,
          incrs: WHOLE,
          size: (_, all) => room(all || []),
          values: (_, all) => all.map((value) => (value === null ? "" : yText(value))),
        },
      ],
      series: [
        {
          label,
          value: (_, value) =>
            value === null ? "" : xText ? xText(value) : new Date(value * 1e3).toISOString().slice(0, 10),
        },
        ...drawn.map((each) => ({
          label: each.label,
          stroke: colour(each.colour),
          fill: bars ? colour(each.colour) : undefined,
          width: bars ? 0 : 2,
          points: { show: !bars && x.length < 3 },
          paths: bars ? Plot.paths.bars({ size: [0.85, 60], align: 0 }) : undefined,
          value: (_, value, __, index) => (index === null || value === null ? "" : yText(each.values[index])),
        })),
      ],
      hooks: {
        ready: [
          (plotted) =>
            chosen &&
            plotted.over.addEventListener(
              "click",
              () => plotted.cursor.idx !== null && chosen(plotted.cursor.idx, met(plotted)),
            ),
        ],
      },
    };
  };
  const met = ({ cursor: { idx, top }, posToVal }) => {
    const at = posToVal(top, "y");
    let sum = 0;
    return series.find((each) => (sum = (stacked ? sum : 0) + (each.values[idx] || 0)) >= at)?.label;
  };
  new ResizeObserver((entries) => {
    const wide = Math.round(entries[0].contentRect.width);
    if (chart && wide && wide !== chart.width) chart.setSize({ width: wide, height });
    else if (!chart) draw();
  }).observe(place);
  onTheme(() => chart && place.isConnected && draw());
  return element;
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

/** Return a table with bars of the size of `value` in the first column; `to(row)` is the target of a row. */
export function ranking({ title, rows, columns, value = null, to = null, empty = "Nothing to show" }) {
  if (!rows.length) return box(title, make("p", { class: "faint" }, empty));
  const most = value ? Math.max(...rows.map(value), 0) : 0;
  const cell = (column, row, index) => {
    const text = column.text(row),
      target = index === 0 && to ? to(row) : null;
    const inside =
      typeof target === "string"
        ? make("a", { href: target, title: text }, text)
        : target
          ? make("button", { type: "button", class: "link", title: text, onclick: target }, text)
          : text;
    const share = index === 0 && value?.(row) > 0 ? make("span", { class: "share", "aria-hidden": "true" }) : null;
    if (share) share.style.width = `${(value(row) / most) * 100}%`;
    return make(index ? "td" : "th", { class: column.num ? "num" : null, scope: index ? null : "row" }, inside, share);
  };
  return box(
    title,
    make(
      "div",
      { class: "table-wrap" },
      make(
        "table",
        {},
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            columns.map((column) => make("th", { scope: "col", class: column.num ? "num" : null }, column.label)),
          ),
        ),
        make(
          "tbody",
          {},
          rows.map((row) =>
            make(
              "tr",
              {},
              columns.map((column, index) => cell(column, row, index)),
            ),
          ),
        ),
      ),
    ),
  );
}
