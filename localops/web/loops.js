// Loops of tool calls: a chip on each session of a list, and a fold on the page of a session.

import { ask, byId, data, make } from "./base.js";
import { url } from "./url.js";
import { markRepeated, section } from "./why.js";

// Marks that are known, by session, with the number of tool calls they were made for.
const known = new Map();
// Sessions of one request, and the number of retries for those that the server had no time for.
const MOST = 100,
  AGAIN = 20;
// Marks of sessions that are not in the list any more are kept up to this number: filters change, and change back.
const KEPT = 1_000;
// Sessions with more events than this read their loops only on demand.
const LONG = 20_000;

/** Put a chip on those rows of a list whose sessions have loops. */
export async function markLoops(sessions, rows) {
  forget(sessions);
  const wanted = sessions.filter((one) => one.tool_calls > 2 && known.get(one.session_id)?.calls !== one.tool_calls);
  draw(sessions, rows);
  for (let at = 0; at < wanted.length; at += MOST) {
    await learn(wanted.slice(at, at + MOST));
    draw(sessions, rows);
  }
}

/** Give up the marks of sessions that left the list long ago. */
function forget(sessions) {
  if (known.size <= KEPT) return;
  const ids = new Set(sessions.map((one) => one.session_id));
  for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
}

async function learn(sessions) {
  const calls = new Map(sessions.map((one) => [one.session_id, one.tool_calls]));
  let ids = [...calls.keys()];
  for (let turn = 0; ids.length && turn < AGAIN; turn += 1) {
    const { marks, missing } = await ask("loops", { sessions: ids.join(",") });
    ids.filter((id) => !missing.includes(id)).forEach((id) => known.set(id, { calls: calls.get(id), mark: marks[id] }));
    ids = missing;
  }
}

function draw(sessions, rows) {
  const of = new Map([...rows.children].map((row) => [row.dataset.id, row]));
  for (const { session_id: id } of sessions) {
    const mark = known.get(id)?.mark,
      tags = of.get(id)?.querySelector(".tags");
    if (!tags) continue;
    tags.querySelector(".loops")?.remove();
    if (mark) tags.prepend(chip(id, mark));
  }
}

/** Return a sentence about what the loops of a session wasted, for the list of one call; null without loops. */
export async function wastedIn(session) {
  await learn([{ session_id: session, tool_calls: 0 }]);
  const mark = known.get(session)?.mark;
  if (!mark) return null;
  const link = make("a", { href: url(`s/${session}#loops`) }, mark.headline);
  return make("p", { id: "wasted", class: "faint" }, "The sums are of this call alone. In its session: ", link);
}

const chip = (id, { loops, headline }) =>
  make("a", { class: `tag loops ${loops ? "failed" : ""}`, href: url(`s/${id}#loops`), title: headline }, named(loops));

const named = (loops) => (loops ? (loops === 1 ? "loop" : `${loops} loops`) : "repeats");

/**
 * Return the fold of a session's page, with a chip beside its state; hidden where there is nothing.
 * `onKnown` is called with the loops once they are known, and `open` to show the fold.
 */
export function loops(one, { onKnown, open }) {
  const inside = make("div", { class: "inside" }),
    summary = make("summary", {}, "Loops and failing tools");
  byId("head").querySelector(".loops")?.remove();
  let asked = false;
  const load = async () => {
    if (asked) return;
    asked = true;
    try {
      show(await ask(`sessions/${data.session_id}/loops`));
    } catch (error) {
      // Opened again, it asks again.
      asked = false;
      inside.replaceChildren(make("p", { class: "failed" }, error.message));
    }
  };
  const show = (facts) => {
    inside.replaceChildren(...facts.page.map((each) => section(each)));
    markRepeated(facts.page.flatMap(({ sentences }) => sentences));
    box.hidden = !facts.page.length;
    onKnown(facts.loops);
    if (location.hash === "#loops") open();
    if (!facts.loops_count) return;
    summary.textContent = `Loops: ${facts.headline}`;
    const attributes = { type: "button", class: `tag loops ${facts.alarming ? "failed" : ""}`, title: facts.headline };
    byId("state").after(make("button", { ...attributes, onclick: open }, named(facts.alarming)));
  };
  const box = make("details", { id: "loops", ontoggle: load }, summary, inside);
  // Comparing the calls of a long session takes a while.
  if (one.events <= LONG) {
    box.hidden = true;
    load();
  }
  return box;
}
