// Figures across sessions.  Each bar, point and row leads to its sessions.

import { ask, byId, make, notice, shortcut, watch } from "./base.js";
import { box, Charts, ranking } from "./charts.js";
import { cost, count, duration, many, money, percent, range, short } from "./formats.js";
import { FilterBar, ViewsMenu } from "./filters.js";
import { keyed, patchChildren } from "./keyed.js";
import { address, changed, filtersOf, parsed } from "./query.js";
import { day, zone } from "./times.js";
import { url } from "./url.js";

const STATES = { Success: "good", Failure: "bad", Indeterminate: "action", Running: "accent", Unknown: "other" };
const COLOURS = ["llm", "tool", "agent", "action", "accent", "error"];
// Models with a colour of their own; the others share one.
const MODELS = 5;

/** Return the address of the sessions of a part: of the chosen ones, those that pass one more filter. */
const within = (filter) => address(changed(filtersOf(parsed()), filter));

// The choice: the filters of the list

const bar = new FilterBar(byId("filters"), { go, searched: "Sessions with this name or content  ( / )" });
const views = new ViewsMenu(go);
byId("filters").append(views.element);
shortcut("/", "Search", () => bar.search.focus());

function go(query) {
  history.pushState(null, "", address(filtersOf(query), "analytics"));
  refresh();
}
addEventListener("popstate", () => refresh());

// The figures

const charts = new Charts();

function drawTotals(one) {
  const figure = (label, value, bad = false, note = "") =>
    make(
      "div",
      {},
      make("dt", {}, label),
      make("dd", { class: bad ? "failed" : null }, value, note && make("small", {}, note)),
    );
  patchChildren(byId("figures"), [
    figure("Sessions", count(one.sessions)),
    figure("Cost", cost(one)),
    figure("LLM calls", count(one.llm_calls)),
    figure("Tool calls", count(one.tool_calls)),
    figure("Errors", count(one.errors), one.errors > 0, "raised or recorded, with or without a call"),
    figure("Failed", count(one.failed), one.failed > 0, "calls and steps that did not succeed"),
    figure("Tokens in", count(one.tokens_in)),
    figure("Tokens out", count(one.tokens_out)),
  ]);
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
    others = new Set(names.slice(MODELS));
  const series = (value) => [
    ...own.map((model, i) => ({
      label: model,
      colour: COLOURS[i],
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
  const ofModel = to((label) => (own.includes(label) ? { model: label } : {}));
  return [
    charts.plot({
      title: "Sessions per day",
      x,
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
      stacked: true,
      yText: (value) => money(value),
      chosen: ofModel,
      series: series((one) => one?.cost_nano || 0),
    }),
    charts.plot({
      title: "Tokens per day by model",
      x,
      stacked: true,
      yText: short,
      chosen: ofModel,
      series: series((one) => (one ? one.tokens_in + one.tokens_out : 0)),
    }),
    charts.plot({
      title: "Failed events per day",
      x,
      yText: count,
      chosen: to(() => ({})),
      series: [{ label: "failed", colour: "bad", values: days.map((each) => each?.failed || 0) }],
    }),
  ];
}

function distribution(title, one, text, sort) {
  const apart = one.unpriced ? [`${many(one.unpriced, "session")} unpriced`] : [];
  if (!one.bars.length) return box(title, make("p", { class: "faint" }, apart[0] || "No sessions"));
  const shares = Object.entries(one.percentiles).map(([name, value]) => `${name} ${text(value)}`);
  return charts.plot({
    title,
    note: [...shares, ...apart].join(" · "),
    label: title.split(" ")[0].toLowerCase(),
    x: one.bars.map((_, i) => i),
    time: false,
    height: 190,
    yText: count,
    xText: (index) => (one.bars[index] ? range(one.bars[index].from, one.bars[index].to, text) : ""),
    xSpace: 130,
    chosen: (index) => location.assign(within({ ...one.bars[index].filter, sort })),
    series: [{ label: "sessions", colour: "accent", values: one.bars.map((bar) => bar.sessions) }],
  });
}

function table(title, by, lines, filter) {
  return ranking({
    title,
    rows: lines,
    value: (row) => row.cost_nano || row.events,
    to: (row) => within({ [filter]: row[by] }),
    columns: [
      { label: by[0].toUpperCase() + by.slice(1), text: (row) => row[by] || "unnamed" },
      { label: "Sessions", num: true, text: (row) => count(row.sessions) },
      { label: by === "tool" || by === "model" ? "Calls" : "Events", num: true, text: (row) => count(row.events) },
      { label: "Failed", num: true, text: (row) => (row.events ? percent(row.failed / row.events) : "–") },
      ...(by === "tool"
        ? [{ label: "Time", num: true, text: (row) => duration(row.seconds) }]
        : [{ label: "Tokens", num: true, text: (row) => short(row.tokens_in + row.tokens_out) }]),
      {
        label: "Cost",
        num: true,
        // Most tools cost nothing, which is no price of $0.00.
        text: (row) => (by === "tool" && !row.cost_nano ? "" : cost({ ...row, llm_calls: row.events })),
      },
    ],
  });
}

function top(title, sessions, label, text, value) {
  return ranking({
    title,
    rows: sessions,
    value,
    to: (one) => url(`s/${one.session_id}`),
    columns: [
      { label: "Session", text: (one) => one.name || "unnamed" },
      { label: "State", text: (one) => one.state },
      { label: "Started", text: (one) => day(one.began) },
      { label, num: true, text },
    ],
  });
}

let asking = null;
// The place of each part, by its request: it stays when the part is drawn again.
const slots = { charts: new Map(), tables: new Map() };

/** Send all requests at once, and draw each response in its place when it arrives. */
async function refresh() {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking,
    query = filtersOf(parsed());
  bar.draw();
  ask("facets", query, { signal }).then(
    (facets) => bar.counted(facets),
    () => {},
  );
  const part = async (where, path, more, draw) => {
    const name = `${path} ${JSON.stringify(more)}`;
    const slot = slots[where].get(name) ?? make("div", { class: "slot", "data-id": name });
    slots[where].set(name, slot);
    const reply = await ask(path, { ...query, ...more }, { signal });
    keyed(slot, [draw(reply)].flat());
    return reply;
  };
  const by = (name, title, filter) =>
    part("tables", "analytics", { by: name, limit: 20 }, (reply) => table(title, name, reply.lines, filter));
  const best = (sort, title, label, text, value) =>
    part("tables", "sessions", { sort, order: "desc", limit: 10 }, (reply) =>
      top(title, reply.sessions.filter(value), label, text, value),
    );
  // First in the queue, because it is quick, and the page is drawn after it.
  const sums = ask("analytics", query, { signal });
  const parts = [
    part("charts", "analytics/daily", { tz: zone }, perDay),
    part("charts", "analytics/distributions", {}, (reply) => [
      distribution("Duration of sessions", reply.seconds, duration, "seconds"),
      distribution("Cost of sessions", reply.cost, (dollars) => money(dollars * 1e9), "cost"),
    ]),
    by("model", "Models", "model"),
    by("tool", "Tools", "tool"),
    by("agent", "Agents", "agent"),
    by("tag", "Tags", "tag"),
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
  [sums, ...parts].forEach((each) => each.catch(() => {}));
  try {
    const totals = await sums;
    drawTotals(totals);
    if (!totals.sessions) return await nothing(parts);
    for (const [where, places] of Object.entries(slots)) {
      byId(where).className = "charts";
      keyed(byId(where), [...places.values()]);
    }
    await Promise.all(parts);
    charts.sweep();
  } catch (error) {
    if (error.name !== "AbortError") byId("charts").prepend(notice(error.message, "problem"));
  }
  return undefined;
}

async function nothing(parts) {
  byId("tables").replaceChildren();
  byId("charts").replaceChildren(
    make(
      "div",
      { class: "empty" },
      make("p", {}, "No session matches these filters."),
      make("p", {}, "Remove one of them above, or record a session with ", make("code", {}, "localops demo"), "."),
    ),
  );
  await Promise.allSettled(parts);
}

refresh();
// The stream begins with the current state, which the page already shows.
let first = true;
watch(
  async () => {
    if (!first) await refresh();
    first = false;
  },
  { pause: 5_000 },
);
