// Differences between two figures or two texts, for all comparisons.

import { make } from "./base.js";
import { count, many, money } from "./formats.js";
import { difference, sentences } from "./words.js";

// Percent from which on an increase is written as a factor.
const TIMES = 1_000;
// Characters that stay on each side of a change, and those that are worth folding away between.
const AROUND = 200,
  FOLDED = 300;
// Characters of a text from which on its changed sentences are listed above it, how many of them, and of each.
const LONG = 600,
  LISTED = 6,
  LONGEST = 400;

/** Return by how much the second is more than the first; less is better, unless the figure is neutral. */
export function change(a, b, text, isNeutral = false) {
  if (a === null || b === null || a === undefined || b === undefined || a === b)
    return make("span", { class: "faint" }, a === b ? "=" : "–");
  if (text(Math.abs(b - a)).startsWith("<") || (a && Math.abs(b - a) / a < 0.005))
    return make("span", { class: "faint" }, "≈");
  const share = a ? ` (${shareOf(b - a, a)})` : "";
  return make(
    "span",
    { class: isNeutral ? "by" : b > a ? "more" : "less" },
    `${b > a ? "+" : "−"}${text(Math.abs(b - a))}${share}`,
  );
}

/** Return a difference as a part of what it was: in percent, or how many times as much where that is easier to read. */
export function shareOf(by, was) {
  const percent = (by / was) * 100;
  return percent >= TIMES ? `×${count(percent / 100 + 1)}` : `${by > 0 ? "+" : "−"}${Math.abs(percent).toFixed(0)}%`;
}

/** Return the difference of two costs, if both are known. */
export function costChange(a, b) {
  if (!a.cost_at_least && !b.cost_at_least) return change(a.cost_nano, b.cost_nano, money);
  return make("span", { class: "faint", title: "The cost of some calls is not known" }, "?");
}

/**
 * Return two texts with their differences marked, and notes about omitted parts; of long texts, the sentences that
 * differ come first.  `letter` is that of the second one, `own` that of the first.
 */
export function marked({ texts: [one, other], same_before, is_cut }, letter = "B", own = "A") {
  const note = (text) => make("span", { class: "faint" }, text);
  const pieces = difference(one, other);
  return [
    one.length + other.length > LONG ? changedIn(pieces, letter, own) : null,
    make(
      "pre",
      { tabindex: 0 },
      same_before ? note(`… ${many(same_before, "character")} before are the same\n`) : null,
      pieces.map(([kind, text], at) =>
        kind === "same" ? folded(text, at > 0, at < pieces.length - 1) : make(kind, {}, text),
      ),
      is_cut ? note("\n… the rest is not shown: open the events to see it") : null,
    ),
  ];
}

/** Return the sentences that differ, as they are in each of the two. */
function changedIn(pieces, letter, first) {
  const all = sentences(pieces);
  const side = (sentence, own, letter) => {
    const words = sentence.filter(([kind, text]) => kind === "same" || (kind === own && text.trim()));
    if (!words.some(([kind]) => kind === own)) return null;
    return make(
      "p",
      { class: own },
      make("span", { class: "faint" }, `${letter} `),
      words.map(([kind, text], at) => {
        const plain = at ? text : text.replace(FIELD, "");
        return kind === own ? make("mark", { class: own }, plain.slice(0, LONGEST)) : plain.slice(0, LONGEST);
      }),
    );
  };
  if (!all.length) return null;
  // What was rewritten at length is no sentence.
  const isLong = all.some((pieces) => pieces.some(([kind, text]) => kind !== "same" && text.length > LONGEST));
  const what = isLong ? "passage" : "sentence";
  return make(
    "div",
    { class: "changed" },
    make("h4", {}, all.length === 1 ? `The ${what} that differs` : `${count(all.length)} ${what}s differ`),
    all.slice(0, LISTED).map((each) => make("div", {}, side(each, "del", first), side(each, "ins", letter))),
    all.length > LISTED && make("p", { class: "faint" }, `${count(all.length - LISTED)} more below`),
  );
}

// The name of a field of JSON before its text.
const FIELD = /^\s*"[^"]{1,40}": "?/;

/** Return a passage that both texts have: of a long one only the text next to a change, and the rest on demand. */
function folded(text, hasBefore, hasAfter) {
  const from = hasBefore ? text.slice(0, AROUND).search(/\s\S*$/) + 1 || AROUND : 0;
  const last = hasAfter ? text.length - AROUND : text.length;
  const to = hasAfter ? last + Math.max(0, text.slice(last).search(/\s/) + 1) : last;
  if (to - from < FOLDED) return text;
  const rest = text.slice(from, to);
  const open = make(
    "button",
    { type: "button", class: "link same", onclick: () => open.replaceWith(rest) },
    `… ${many(rest.length, "character")} are the same …`,
  );
  return [text.slice(0, from), open, text.slice(to)];
}
