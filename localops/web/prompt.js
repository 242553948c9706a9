// The prompt that calls have in common, with what changed since the version before.

import { ask, make } from "./base.js";
import { many } from "./formats.js";
import { changed } from "./query.js";
import { difference } from "./words.js";

// Characters that versions of a prompt begin with alike, and groups among which the version before is looked for.
const ALIKE = 24,
  GROUPS = 100;

/** Return an element with the prompt of the filters, and a function that scrolls it to its first change. */
export async function shownPrompt(filters) {
  const line = await groupOf(filters);
  if (!line?.whole) return null;
  const before = await versionBefore(line, filters);
  const pieces = before ? difference(before.whole, line.whole) : [];
  // Another prompt that only begins with the same words is not a version of this one.
  const isVersion = lengthOf(pieces, "same") > line.whole.length / 2;
  const text = make("pre", { tabindex: 0 }, isVersion ? pieces.map(([kind, part]) => marked(kind, part)) : line.whole);
  const changes = isVersion ? ", with its changes since the version before" : "";
  const label = `The prompt of these calls, ${many(line.whole.length, "character")}${changes}`;
  return {
    element: make("details", { id: "prompt", open: true }, make("summary", {}, label), text),
    scroll: () => scrollTo(text),
  };
}

const marked = (kind, part) => (kind === "same" ? part : make(kind, {}, part));
const lengthOf = (pieces, wanted) => pieces.reduce((sum, [kind, part]) => sum + (kind === wanted ? part.length : 0), 0);

/** Return the group of calls with the prompt of the filters. */
async function groupOf(filters) {
  const { lines } = await ask("calls/groups", { ...filters, by: "prompt", limit: 1 });
  return lines[0];
}

/** Return the group of the newest prompt that begins alike and was first seen before this one; null without one. */
async function versionBefore({ prompt, first }, filters) {
  const others = changed(filters, { prompt: "" });
  const { lines } = await ask("calls/groups", { ...others, by: "prompt", limit: GROUPS });
  const begin = (prompt || "").slice(0, ALIKE);
  const earlier = lines.filter((each) => each.prompt?.startsWith(begin) && each.first < first);
  if (!begin || !earlier.length) return null;
  const newest = earlier.reduce((one, other) => (one.first < other.first ? other : one));
  return groupOf({ ...others, ...newest.filter });
}

/** Scroll a text to its first change, with a few lines before it. */
function scrollTo(text) {
  const change = text.querySelector("ins, del");
  if (change) text.scrollTop += change.getBoundingClientRect().top - text.getBoundingClientRect().top - 60;
}
