// Two groups of runs, each chosen by filters: the averages of their figures, and by how much the groups differ.

import { ask, hintOf, make, notice } from "./base.js";
import { shareOf } from "./changes.js";
import { FilterBar } from "./filters.js";
import { count, duration, many, money, percent } from "./formats.js";
import { patchChildren } from "./keyed.js";
import { address, filtersOf, parsed, search } from "./query.js";
import { heads, table } from "./table.js";
import { url } from "./url.js";

const SIDES = ["a", "b"];
const average = (value) => {
  const size = Math.abs(value);
  return `${value < 0 ? "−" : ""}${size < 10 ? size.toFixed(size % 1 ? 2 : 0) : count(Math.round(size))}`;
};
const points = (share) => Number((share * 100).toFixed(1));
// By the names of the server: the label, the text of a value, and whether more is better (1), worse (-1) or neither.
const FIGURES = {
  success_rate: ["Success", percent, 1],
  seconds: ["Duration", (value) => (value ? duration(value) : "0s"), -1],
  cost_usd: ["Cost", (value) => money(value * 1e9), -1],
  llm_calls: ["LLM calls", average, 0],
  tool_calls: ["Tool calls", average, 0],
  actions: ["Actions", average, 0],
  errors: ["Errors", average, -1],
  tokens_in: ["Tokens in", average, -1],
  tokens_out: ["Tokens out", average, -1],
};

const named = (side) => `group_${side}`;
/** Return the filters of a group, which are a query of their own in the address. */
const groupOf = (side) => parsed(new URLSearchParams(location.search).get(named(side)) || "");
const encoded = (query) => search(filtersOf(query)).slice(1);

/** Show the groups of the address, and again when a filter is changed. */
export function groups(place) {
  const bars = SIDES.map((side) => group(side, refresh));
  const result = make("section", { class: "chart groups" });
  place.replaceChildren(
    make(
      "div",
      { class: "two" },
      bars.map((bar) => bar.element),
    ),
    result,
  );
  let asking = null;
  async function refresh() {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    const [a, b] = SIDES.map((side) => encoded(groupOf(side)));
    bars.forEach((bar) => bar.draw(signal));
    if (!a || !b) return patchChildren(result, [make("p", { class: "faint" }, "Choose a filter for each group.")]);
    try {
      const reply = await ask("compare/groups", { a, b }, { signal });
      patchChildren(result, [...averages(reply), hintOf(reply)].filter(Boolean));
    } catch (error) {
      if (error.name !== "AbortError") result.replaceChildren(notice(error.message, "problem"));
    }
    return undefined;
  }
  addEventListener("popstate", refresh);
  refresh();
}

/** Return the filters of one group. */
function group(side, refresh) {
  const form = make("form", {
    class: "filters",
    role: "search",
    "aria-label": `Filters of group ${side.toUpperCase()}`,
  });
  const link = make("a", {}, "…");
  const element = make(
    "section",
    { class: "chart group" },
    make("h2", {}, `${side.toUpperCase()}: `, link),
    make("div", {}, form),
  );
  const go = (query) => {
    const params = new URLSearchParams(location.search);
    params.set(named(side), encoded(query));
    history.pushState(null, "", url(`compare?${params}`));
    refresh();
  };
  const bar = new FilterBar(form, {
    go,
    searched: "Names and content",
    label: `Search names and content of group ${side.toUpperCase()}`,
    facets: ["tag", "state", "model"],
    query: () => groupOf(side),
    id: `facets-${side}`,
  });
  return {
    element,
    draw(signal) {
      const query = filtersOf(groupOf(side));
      bar.draw();
      link.href = address(query);
      ask("facets", query, { signal }).then(
        (facets) => {
          bar.counted(facets);
          link.textContent = many(facets.sessions, "run");
        },
        (error) => error.name !== "AbortError" && bar.fail(error),
      );
    },
  };
}

/** Swap the groups. */
function swap() {
  const params = new URLSearchParams(location.search);
  const [a, b] = SIDES.map((side) => params.get(named(side)) || "");
  params.set(named("a"), b);
  params.set(named("b"), a);
  history.pushState(null, "", url(`compare?${params}`));
  dispatchEvent(new PopStateEvent("popstate"));
}

// States that the success rate counts, and whether more of them is better (1) or worse (-1).
const ENDS = { Success: 1, Failure: -1 };

function averages({ a, b, figures, states, scores }) {
  // Runs in another state are in no success rate: their share may be the difference.
  const others = states.map((one) => one.name).filter((name) => !(name in ENDS));
  const shares = others.length ? states : [];
  const row = (label, text, one, good, isCounted) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, label),
      SIDES.map((side) =>
        make(
          "td",
          { class: "num", "data-label": side.toUpperCase() },
          estimate(one[side], text, isCounted, !FIGURES[one.name] || Boolean(one.by)),
        ),
      ),
      make("td", { class: "num", "data-label": "Difference" }, difference(one, text, good)),
    );
  const left = SIDES.map((side, at) => {
    const costs = figures.find((one) => one.name === "cost_usd")[side]?.count ?? 0;
    const without = [a, b][at].sessions - costs;
    return without ? `${side.toUpperCase()}: ${many(without, "run")} without a known cost` : "";
  }).filter(Boolean);
  return [
    make(
      "h2",
      {},
      "Averages ",
      make("button", { type: "button", class: "quiet small", "data-key": "swap", onclick: swap }, "Swap A and B"),
    ),
    table(heads(["Figure", "A", "B", "Difference"]), [
      shares.map((one) => row(one.name, percent, one, ENDS[one.name] ?? 0, true)),
      figures.map((one) => {
        const [label, text, good] = FIGURES[one.name];
        const isRate = one.name === "success_rate";
        const counted = isRate && others.length ? `Success rate, without ${others.join(" and ")}` : label;
        return row(counted, text, one, good, isRate);
      }),
      scores.map((one) =>
        row(
          `${one.name}${one.label ? ` = ${one.label}` : ""} (${one.by})`,
          one.type === "number" ? average : percent,
          one,
          0,
          true,
        ),
      ),
    ]),
    make(
      "p",
      { class: "faint small" },
      "Means with 95% confidence intervals. A difference is bold if its interval does not contain zero. ",
      left.join("; "),
    ),
  ];
}

/** Return an interval as text, empty for a single value or equal ones. */
const range = (low, high, text) => (low === null || low === high ? "" : `(${text(low)} … ${text(high)})`);

/** Return a mean with its interval, and of how many, where no other line shows that. */
function estimate(one, text, isCounted, isScore) {
  if (!one) return "–";
  const of = isCounted ? ` of ${count(one.count)}` : "";
  // An interval of few values may reach below zero, which no figure but a score does.
  const low = one.low !== null && !isScore ? Math.max(0, one.low) : one.low;
  return [make("b", {}, text(one.mean)), make("small", {}, `${of} ${range(low, one.high, text)}`)];
}

function difference({ a, difference: one }, text, good) {
  if (!one) return "";
  const isSure = one.low !== null && (one.low > 0 || one.high < 0);
  const shown = text === percent ? points : text;
  const unit = text === percent ? " points" : "";
  const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${shown(Math.abs(value))}`;
  const share = a.mean && text !== percent ? ` (${shareOf(one.by, a.mean)})` : "";
  const kind = !isSure || !good ? (isSure ? null : "faint") : one.by > 0 === good > 0 ? "less" : "more";
  return [
    make(isSure ? "b" : "span", { class: kind }, one.by ? `${signed(one.by)}${unit}${share}` : "="),
    make("small", {}, ` ${range(one.low, one.high, signed)}`),
  ];
}
