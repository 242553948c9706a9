// Figures across sessions.  Each bar, point and row leads to its sessions.

import { ask, byId, hintOf, make, notice, searchKey, watch } from "./base.js";
import { box, Charts } from "./charts.js";
import { cost, count, duration, many, money, percent, range, short, success, trimmed } from "./formats.js";
import { FilterBar } from "./filters.js";
import { patchChildren } from "./keyed.js";
import { coloursOf } from "./model_colours.js";
import { Parts } from "./parts.js";
import { address, changed, filtersOf, misordered, parsed, refusal } from "./query.js";
import { ranking } from "./ranking.js";
import { averagesOfScores } from "./score_averages.js";
import { day, midnight, zone } from "./times.js";
import { url } from "./url.js";
import { ViewsMenu } from "./views_menu.js";

const STATES = { Success: "good", Failure: "bad", Indeterminate: "warn", Running: "running", Unknown: "other" };
// Models with a colour of their own; the others share one.
const MODELS = 5;
// Lines of a table that are fetched.
const MOST = 500;
// Milliseconds without news after which the parts that wait are drawn as well.
const CALM = 10_000;
// Milliseconds between two drawings of the charts: a few seconds are little of a day.
const OF_DAYS = 15_000;

/** Return the address of the sessions of a part: of the chosen ones, those that pass one more filter. */
const within = (filter) => address(changed(filtersOf(parsed()), filter));

// The choice: the filters of the list

const bar = new FilterBar(byId("filters"), { go, searched: "Names and content  ( / )" });
const views = new ViewsMenu(go);
byId("filters").append(views.element);
searchKey("Search", bar.search);

function go(query) {
  history.pushState(null, "", address(filtersOf(query), "analytics"));
  refresh();
}
addEventListener("popstate", () => refresh());

// The figures

const charts = new Charts();

// The sums, and the speeds of calls, which take longer to calculate.
const known = { sums: null, speeds: null };
// How many calls of a model or a tool failed, as the page of calls counts them; other steps fail as well. And how many
// steps had failed when these were counted.
const failedCalls = {},
  failedThen = {};

function drawTotals(change) {
  const { sums: one, speeds } = Object.assign(known, change);
  if (!one) return;
  const figure = (label, value, bad = false, title = null, note = "") =>
    make(
      "div",
      { title },
      make("dt", {}, label),
      make("dd", { class: bad ? "failed" : null }, value, note && make("small", {}, note)),
    );
  const ended = success(one);
  patchChildren(byId("figures"), [
    figure("Sessions", count(one.sessions)),
    figure("Success", percent(ended.share), false, ended.title, ended.note),
    figure("Cost", cost(one)),
    figure("LLM calls", count(one.llm_calls)),
    figure("Tool calls", count(one.tool_calls)),
    figure("Errors", count(one.errors), one.errors > 0, ERRORS, "raised or recorded"),
    figure("Failed", count(one.failed), one.failed > 0, FAILED, partsOf(one.failed)),
    figure("Tokens in", count(one.tokens_in)),
    figure("Tokens out", count(one.tokens_out)),
  ]);
  patchChildren(byId("speeds"), [
    figure("LLM call, median", ...took(speeds?.llm.percentiles)),
    figure("First token, median", ...took(speeds?.llm.first_token)),
    figure("Tokens a second", speeds ? rate(speeds.llm.tokens_per_second) || "–" : "…", false, RATE),
    figure("Input from cache", speeds ? shareOf(speeds.llm.cache_hit_rate) || "–" : "…", false, CACHED),
    figure("Tool call, median", ...took(speeds?.tool.percentiles)),
  ]);
}

/** Return a note of what failed: the number of calls, with a link to them, and that of operations. */
function partsOf(failed) {
  const calls = Object.values(failedCalls).reduce((sum, each) => sum + each, 0);
  if (Object.keys(failedCalls).length < CALLED.length || !failed || calls > failed) return "calls and operations";
  const href = address(changed(filtersOf(parsed()), { failed: 1 }), "calls");
  const others = failed > calls && `, ${many(failed - calls, "operation")}`;
  return [make("a", { href }, many(calls, "call")), others];
}

const CALLED = ["model", "tool"];
const ERRORS = "Errors that were raised or recorded, inside and outside of calls";
const FAILED = "Calls and operations that did not succeed; an error outside of them is only counted as an error";
const RATE = "Output tokens divided by the duration of the calls, without calls of less than 0.1 s";
const CACHED = "Share of the input tokens that were read from a cache, of the calls that report it";
const rate = (value) => (value === null ? "" : value < 10 ? value.toFixed(1) : count(Math.round(value)));
const shareOf = (value) => (value === null ? "" : percent(value));

const nameOf = (percentile) => (percentile === "p50" ? "median" : percentile);

/** Return a median, and the other percentiles as its title; the arguments of a figure. */
function took(percentiles) {
  if (!percentiles) return [percentiles === null ? "–" : "…"];
  const parts = Object.entries(percentiles).map(([name, value]) => `${nameOf(name)} ${duration(value)}`);
  return [duration(percentiles.p50), false, parts.join(", ")];
}

/** Add the days without sessions. */
function filled(days) {
  if (!days.length) return { x: [], days: [] };
  const at = (text) => Date.parse(`${text}T00:00:00Z`) / 1e3;
  const known = new Map(days.map((each) => [at(each.day), each]));
  const x = [];
  for (let day = at(days[0].day); day <= at(days.at(-1).day); day += 86400) x.push(day);
  return { x, days: x.map((day) => known.get(day)) };
}

function perDay(daily) {
  const { x, days } = filled(daily.days);
  const to = (more) => (index, label) =>
    days[index] && location.assign(within({ ...days[index].filter, ...more(label) }));
  const dayAt = (index, more = 0) => new Date((x[index] + more) * 1e3).toISOString().slice(0, 10);
  const brushed = (from, to) =>
    go(changed(parsed(), { since: midnight(dayAt(from)), until: midnight(dayAt(to, 86400)) }));
  const states = Object.keys(STATES).filter((state) => days.some((each) => each?.states[state]));
  const models = new Map();
  days.forEach((each) =>
    each?.by_model.forEach((one) =>
      models.set(
        one.model,
        (models.get(one.model) || 0) + (one.cost_nano || 0) + (one.tokens_in + one.tokens_out) / 1e6,
      ),
    ),
  );
  const names = [...models].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const own = names.slice(0, MODELS),
    colours = coloursOf(own),
    others = new Set(names.slice(MODELS));
  const series = (value) => [
    ...own.map((model, i) => ({
      label: model,
      colour: colours[i],
      values: days.map((each) => value(each?.by_model.find((one) => one.model === model))),
    })),
    ...(others.size
      ? [
          {
            label: "others",
            colour: "other",
            values: days.map((each) =>
              (each?.by_model || []).filter((one) => others.has(one.model)).reduce((sum, one) => sum + value(one), 0),
            ),
          },
        ]
      : []),
  ];
  const each = (name) => days.map((day) => day?.cost_per_session?.[name] ?? null);
  const ofModel = to((label) => (own.includes(label) ? { model: label } : {}));
  return [
    charts.plot({
      title: "Sessions per day",
      x,
      brushed,
      stacked: true,
      yText: count,
      chosen: to((label) => ({ state: label })),
      series: states.map((state) => ({
        label: state,
        colour: STATES[state],
        values: days.map((each) => each?.states[state] || 0),
      })),
    }),
    charts.plot({
      title: "Cost per day by model",
      x,
      brushed,
      stacked: true,
      yText: (value) => money(value),
      chosen: ofModel,
      series: series((one) => one?.cost_nano || 0),
    }),
    perSession(
      [
        ["Median cost", "series", each("p50_nano")],
        ["90th percentile", "series", each("p90_nano")],
      ].map(([title, colour, values]) =>
        charts.plot({
          title,
          kind: "inner",
          x,
          brushed,
          bars: false,
          clips: true,
          height: 140,
          yText: (value) => money(value),
          chosen: to(() => ({ sort: "cost" })),
          series: [{ label: title.toLowerCase(), colour, values }],
        }),
      ),
    ),
    charts.plot({
      title: "Tokens per day by model",
      x,
      brushed,
      stacked: true,
      yText: short,
      chosen: ofModel,
      series: series((one) => (one ? one.tokens_in + one.tokens_out : 0)),
    }),
    charts.plot({
      title: "Failed calls and operations per day",
      kind: "third",
      x,
      brushed,
      yText: count,
      chosen: to(() => ({})),
      series: [{ label: "failed", colour: "bad", values: days.map((each) => each?.failed || 0) }],
    }),
  ];
}

const costs = box("Cost per session by day", make("p", { class: "faint" }, "of sessions with a known price"));

/** Return the box of what a session costs; each line has its own scale, as one expensive run would hide a median. */
function perSession(plots) {
  if (!plots.every((each) => costs.contains(each))) costs.append(...plots);
  return costs;
}

/** Return where a bar of a histogram begins; of the first one, where it ends. */
const edgeOf = ({ from, to }, text) => (from > 0 ? trimmed(text(from)) : range(0, to, text));

function distribution(title, one, text, sort) {
  const unpriced = one.unpriced ? [`${many(one.unpriced, "session")} unpriced`] : [];
  if (!one.bars.length) {
    const none = box(title, make("p", { class: "faint" }, unpriced[0] || "No sessions"));
    none.classList.add("third");
    return none;
  }
  const shares = Object.entries(one.percentiles).map(([name, value]) => `${nameOf(name)} ${text(value)}`);
  return charts.plot({
    title,
    kind: "third",
    note: [...shares, ...unpriced].join(" · "),
    label: title.split(" ")[0].toLowerCase(),
    x: one.bars.map((_, i) => i),
    time: false,
    height: 190,
    yText: count,
    xText: (index) => (one.bars[index] ? range(one.bars[index].from, one.bars[index].to, text) : ""),
    axisText: (index) => (one.bars[index] ? edgeOf(one.bars[index], text) : ""),
    chosen: (index) => location.assign(within({ ...one.bars[index].filter, sort })),
    series: [{ label: "sessions", colour: "series", values: one.bars.map((bar) => bar.sessions) }],
  });
}

const text = (label, value) => ({ label, text: value, sort: value });
const number = (label, value, show = count, more = {}) => ({
  label,
  num: true,
  text: (row) => show(value(row), row),
  sort: value,
  ...more,
});
const seconds = (label, value, more) => number(label, value, (one) => (one === null ? "" : duration(one)), more);
const isOfCalls = (by) => by === "tool" || by === "model";
const rank =
  (name, of = "percentiles") =>
  (row) =>
    row[of]?.[name] ?? null;
const tokens = number(
  "Tokens",
  (row) => row.tokens_in + row.tokens_out,
  (value) => short(value),
  { isSpare: true },
);

const SPEEDS = [
  seconds("Median", rank("p50"), { hint: "Half of the calls took at most this long" }),
  seconds("p90", rank("p90"), { isSpare: true }),
  seconds("p99", rank("p99")),
];
const OF_MODELS = [
  seconds("First token", rank("p50", "first_token"), {
    hint: "Half of the calls began to answer within this time",
    isSpare: true,
  }),
  number("Tokens/s", (row) => row.tokens_per_second, rate, { hint: RATE, isSpare: true }),
  number("Cached", (row) => row.cache_hit_rate, shareOf, { hint: CACHED, isSpare: true }),
];
// Most tools cost nothing, which is no price of $0.00.
const costOf = (by) =>
  number(
    "Cost",
    (row) => row.cost_nano,
    (_, row) => (by === "tool" && !row.cost_nano ? "" : cost({ ...row, llm_calls: row.events })),
  );

const failedOf = (by) =>
  number(
    "Failed",
    (row) => row.failed,
    (value, row) =>
      value && !isOfCalls(by) ? `${count(value)} (${percent(value / Math.max(row.events, value))})` : count(value),
    { kind: (row) => row.failed > 0 && "failed" },
  );
const failedShare = number(
  "Share",
  (row) => (row.events ? row.failed / row.events : null),
  (share) => (share ? percent(share) : ""),
  {
    hint: "Share of the calls that failed",
    isSpare: true,
  },
);

/** Return the columns of a table; one that no line has a figure for is left out. */
function columns(by, label, lines) {
  const isKnown = (column) => lines.some((line) => column.sort(line) !== null);
  return [
    text(label, (row) => row[by] || "unnamed"),
    number("Sessions", (row) => row.sessions, count, { isSpare: isOfCalls(by) }),
    number(isOfCalls(by) ? "Calls" : "Events", (row) => row.events, count, { isSpare: !isOfCalls(by) }),
    failedOf(by),
    ...(isOfCalls(by) && lines.some((line) => line.failed) ? [failedShare] : []),
    ...(by === "tool"
      ? [seconds("Time", (row) => (rank("p50")(row) === null ? null : row.seconds), { isSpare: true })]
      : [tokens]),
    ...(isOfCalls(by) ? SPEEDS : []),
    ...(by === "model" ? OF_MODELS.filter(isKnown) : []),
    ...(by !== "tool" || lines.some((line) => line.cost_nano) ? [costOf(by)] : []),
  ];
}

/** Return a table of the lines of a reply; `filter` is that of a line. */
function table(title, { by, lines, count: total, unread }, label, filter) {
  const isPriced = lines.some((row) => row.cost_nano > 0);
  const made = ranking({
    title,
    rows: lines,
    total,
    many: isOfCalls(by) ? 12 : 10,
    value: (row) => (isPriced ? row.cost_nano : row.events),
    to: (row) => within(filter(row)),
    columns: columns(by, label, lines),
  });
  if (isOfCalls(by)) made.classList.add("wide");
  if (unread) made.append(make("p", { class: "faint small", role: "status" }, `${many(unread, "row")} not read yet.`));
  return made;
}

// The metadata that costs are shown by.
let meta = "";

/** Return a table by a name of metadata, and the other names that there are. */
async function byMetadata(query, options) {
  const { meta: pairs } = await ask("facets", { ...query, of: "meta" }, options);
  const names = [...new Set(pairs.map(([pair]) => pair.split("=", 1)[0]))].sort();
  if (!names.length) return [];
  const name = names.includes(meta) ? meta : names[0];
  const by = `meta:${name}`;
  const reply = await ask("analytics", { ...query, by, limit: MOST }, options);
  const made = table("Metadata", reply, name, (row) => ({ meta: `${name}=${row[by]}` }));
  const choose = (event) => {
    meta = event.target.value;
    refresh();
  };
  const choices = names.map((each) => make("option", { value: each, selected: each === name }, each));
  const select = make("select", { "aria-label": "Metadata", "data-key": names.join(), onchange: choose }, choices);
  made.querySelector("h2").append(" ", names.length > 1 ? select : name);
  return [made];
}

function top(title, sessions, label, text, value) {
  return ranking({
    title,
    rows: sessions,
    value,
    many: 5,
    to: (one) => url(`s/${one.session_id}`),
    columns: [
      { label: "Session", text: (one) => one.name || "unnamed" },
      { label: "State", text: (one) => one.state },
      { label: "Started", text: (one) => day(one.began) },
      { label, num: true, text },
    ],
  });
}

let asking = null,
  again = 0;
const parts = new Parts(["charts", "tables"], () => refresh({ fresh: known.sums }));

// Whether the menus of the filters have the counts of now; if not, they are asked for when one is opened.
let areCounted = false;
async function countFilters() {
  areCounted = true;
  try {
    bar.counted(await ask("facets", filtersOf(parsed()), { signal: asking.signal }));
  } catch {
    areCounted = false;
  }
}
const isMenuOpen = () => byId("filters").querySelector("details[open]") !== null;
const openMenu = () => isMenuOpen() && !areCounted && countFilters();
byId("filters").addEventListener("toggle", openMenu, { capture: true });

/**
 * Send all requests at once, and draw each response in its place when it arrives. On news, of which the `fresh` sums
 * are known, only what is in sight.
 */
async function refresh({ fresh = null } = {}) {
  asking?.abort();
  asking = new AbortController();
  clearTimeout(again);
  again = 0;
  const { signal } = asking,
    query = filtersOf(parsed());
  parts.begin({ key: JSON.stringify(query), signal, isNews: fresh !== null });
  areCounted = false;
  if (!fresh) {
    bar.draw();
    views.draw();
  }
  if (!fresh || isMenuOpen()) countFilters();
  // First in the queue, because it is quick, and the page is drawn after it.
  const sums = fresh ? Promise.resolve(fresh) : ask("analytics", query, { signal });
  const part = (where, path, more, draw, options) =>
    parts.draw(
      where,
      `${path} ${JSON.stringify(more)}`,
      async () => draw(await ask(path, { ...query, ...more }, { signal })),
      options,
    );
  const by = (name, title, label) =>
    part(
      "tables",
      "analytics",
      { by: name, limit: MOST },
      async (reply) => {
        if (reply.unread) again ||= setTimeout(refresh, 2_000);
        if (CALLED.includes(name)) {
          failedThen[name] = (await sums).failed;
          failedCalls[name] = reply.lines.reduce((sum, line) => sum + line.failed, 0);
          drawTotals({});
        }
        return name === "user" && !reply.lines.length
          ? []
          : table(title, reply, label, (row) => ({ [name]: row[name] }));
      },
      // The figures above the charts have the failed calls.
      { isNeeded: CALLED.includes(name) && failedThen[name] !== fresh?.failed },
    );
  const best = (sort, title, label, text, value) =>
    part("tables", "sessions", { sort, order: "desc", limit: 10 }, (reply) =>
      top(title, reply.sessions.filter(value), label, text, value),
    );
  const speeds = ask("analytics/speeds", query, { signal });
  const drawn = [
    part("charts", "analytics/daily", { tz: zone }, perDay, { every: OF_DAYS }),
    part(
      "charts",
      "analytics/distributions",
      {},
      (reply) => [
        distribution("Duration of sessions", reply.seconds, duration, "seconds"),
        distribution("Cost of sessions", reply.cost, (dollars) => money(dollars * 1e9), "cost"),
      ],
      { every: OF_DAYS },
    ),
    by("model", "Models", "Model"),
    by("tool", "Tools", "Tool"),
    // Side by side: those with few rows, then those with many.
    by("agent", "Agents", "Agent"),
    by("user", "Users", "User"),
    by("tag", "Tags", "Tag"),
    parts.draw("tables", "metadata", async () => byMetadata(query, { signal })),
    part("tables", "analytics/scores", {}, (reply) => averagesOfScores(reply, within)),
    best("cost", "Most expensive sessions", "Cost", cost, (one) => one.cost_nano || 0),
    best(
      "seconds",
      "Longest sessions",
      "Duration",
      (one) => duration(one.seconds),
      (one) => one.seconds,
    ),
    best(
      "errors",
      "Sessions with most errors",
      "Errors",
      (one) => count(one.errors),
      (one) => one.errors,
    ),
  ];
  // Errors are shown once, below; without this, each would be an unhandled rejection, too.
  [sums, speeds, ...drawn].forEach((each) => each.catch(() => {}));
  try {
    const totals = await sums;
    drawTotals({ sums: totals });
    speeds.then(
      (reply) => drawTotals({ speeds: reply }),
      () => {},
    );
    document.body.classList.toggle("nothing", !totals.sessions && !Object.keys(query).length);
    if (!totals.sessions) return await nothing(drawn, query, totals);
    parts.show();
    await Promise.all(drawn);
    if (!fresh) charts.sweep();
    else if (!parts.isWhole) again ||= setTimeout(refresh, CALM);
  } catch (error) {
    if (error.name !== "AbortError") byId("charts").prepend(notice(refusal(error.message), "problem"));
  }
  return undefined;
}

async function nothing(drawn, query, totals) {
  byId("tables").replaceChildren();
  byId("tables").className = "";
  const words = Object.keys(query).length
    ? [
        make("p", {}, misordered(parsed()) || "No session matches these filters."),
        hintOf(totals),
        make("button", { type: "button", onclick: () => bar.clear() }, "Show all sessions"),
      ]
    : make("p", {}, "No sessions yet: record one with ", make("code", {}, "localops demo"), ".");
  byId("charts").replaceChildren(make("div", { class: "empty" }, words));
  await Promise.allSettled(drawn);
}

let refreshed = refresh();
// The stream begins with the current state, which the page already shows.
let isFirst = true;

/** Draw again what is in sight if something is new, or if the sums have changed, which are quick to ask for. */
async function news(isNew) {
  await refreshed;
  const sums = await ask("analytics", filtersOf(parsed()));
  if ((isNew && !isFirst) || JSON.stringify(sums) !== JSON.stringify(known.sums))
    await (refreshed = refresh({ fresh: sums }));
  isFirst = false;
}
watch(news, { pause: 4_500 });
