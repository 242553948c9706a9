// The figures of the sessions that are listed, and what they were in the period before.

import { ask, byId, make } from "./base.js";
import { cost, count, money, percent, short, success } from "./formats.js";
import { patchChildren } from "./keyed.js";
import { address, changed, filtersOf, first, parsed, period } from "./query.js";

const rate = (one) => success(one).share;
const tokens = (one) => one.tokens_in + one.tokens_out;

const RAISED = "Errors";

/** Figures: name, value, text, and whether more of it is good (1), bad (-1) or neither. */
const FIGURES = [
  ["Sessions", (one) => one.sessions, (one) => count(one.sessions), count, 0],
  ["Success", rate, (one) => percent(rate(one)), percent, 1],
  ["Cost", (one) => one.cost_nano, (one) => cost(one), money, -1],
  ["Tokens", tokens, (one) => short(tokens(one)), short, 0],
  ["LLM calls", (one) => one.llm_calls, (one) => short(one.llm_calls), short, 0],
  [RAISED, (one) => one.errors, (one) => short(one.errors), short, -1],
];

const ERRORS = "Errors that were raised or recorded, inside and outside of calls. Calls has those that failed.";
const LIMIT = "Upper limit: each session has all of these words, but perhaps not in one event";

let asking = null;

/** Ask for the figures, and draw them. */
export async function summarize() {
  asking?.abort();
  asking = new AbortController();
  const query = filtersOf(parsed());
  try {
    const { now, before } = await ask("summary", query, { signal: asking.signal });
    draw(now, before, query);
  } catch (error) {
    // The list shows the error.
    if (error.name !== "AbortError") byId("summary").replaceChildren();
  }
}

/** Return the period that figures are compared with: as long as the chosen one, and just before it. */
function previous(query) {
  const since = first(query, "since");
  const [, span] = /^last (.+)$/.exec(period(since)) || [];
  return span && !first(query, "until") ? `the ${span} before` : "the period of the same length before it";
}

// The address for which the page left room for figures, which stays until another one is chosen.
const early = location.search;

function draw(now, before, query) {
  const box = byId("summary");
  if (box.querySelector(".soon")) box.style.minHeight = `${box.offsetHeight}px`;
  else if (location.search !== early) box.style.minHeight = "";
  // It keeps its room, as the next letters of a search may find one.
  box.classList.toggle("none", !now.sessions);
  const compared = before?.sessions && first(query, "since") ? previous(query) : "";
  patchChildren(box, [
    ...FIGURES.map(([label, value, text, plain, good]) =>
      make(
        "div",
        {},
        make("dt", {}, label),
        make(
          "dd",
          { class: label === RAISED && now.errors ? "failed" : null, title: hint(label, now) },
          now.exact || label === "Success" ? "" : "≤ ",
          label === RAISED && now.errors
            ? make("a", { class: "failed", href: address(changed(query, { errors: 1 })) }, text(now))
            : text(now),
          " ",
        ),
        label === "Success" && success(now).note && make("dd", { class: "trend faint" }, success(now).note),
        compared && trend(label, value(now), value(before), plain, good, compared),
      ),
    ),
    ...(compared
      ? [
          make(
            "div",
            { class: "faint" },
            make("dt", {}, "▲▼"),
            make("dd", { class: "trend" }, `compared with ${compared}`),
          ),
        ]
      : []),
  ]);
}

/** Return what a figure counts. */
function hint(label, now) {
  if (label === "Success") return success(now).title;
  return [label === RAISED && ERRORS, !now.exact && LIMIT].filter(Boolean).join("\n") || null;
}

/** Return by how much a figure is more than in the period before. */
function trend(label, now, before, plain, good, compared) {
  if (now === null || before === null) return null;
  const isRate = label === "Success";
  const by = isRate ? Math.round((now - before) * 100) : before ? Math.round((now / before - 1) * 100) : null;
  if (by === null) return null;
  const kind = !by || !good ? "faint" : by > 0 === good > 0 ? "less" : "more";
  const size = by > 999 ? `×${Math.round(now / before)}` : `${Math.abs(by)}${isRate ? " points" : "%"}`;
  return make(
    "dd",
    { class: `trend ${kind}`, title: `${plain(before)} in ${compared}` },
    by ? `${by > 0 ? "▲" : "▼"} ${size}` : "=",
  );
}
