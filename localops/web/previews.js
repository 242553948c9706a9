// One line about each event: fetched in groups for the rows that are drawn, and kept by seq.

import { ask, data, make } from "./base.js";
import { isReport } from "./clock.js";
import { duration } from "./formats.js";
import { stamp } from "./times.js";

// Milliseconds in which rows are collected for one request, so that rows scrolled past are not fetched.
const PAUSE = 100;
// Events that the server accepts in one request, and lines that are kept: a page that follows a run sees them all.
const MOST = 200,
  KEPT = 500;

// Seq → its line, the newest last.
const known = new Map();
// Seq → the element for its line, and whether the event has ended, so that its line is final.
const waiting = new Map();
let later = 0;

/** Return an element that shows the line of an event as soon as it is fetched. */
export function preview(seq, finished) {
  const element = make("span", { class: "preview" });
  if (known.has(seq)) fill(element, known.get(seq));
  else {
    waiting.set(seq, { element, finished });
    later ||= setTimeout(fetchWaiting, isReport ? 0 : PAUSE);
  }
  return element;
}

async function fetchWaiting() {
  for (const [seq, { element }] of waiting) if (!element.isConnected) waiting.delete(seq);
  const seqs = [...waiting.keys()].slice(-MOST);
  const previews = seqs.length ? await fetched(seqs) : {};
  // A large response lacks its last events: they stay in `waiting` for the next request.
  const some = Object.keys(previews).length > 0;
  for (const seq of seqs) {
    const text = previews[seq],
      { element, finished } = waiting.get(seq);
    if (some && text === undefined) continue;
    if (text || (finished && text === "")) known.set(seq, text);
    fill(element, text);
    waiting.delete(seq);
  }
  for (const seq of known.keys()) {
    if (known.size <= KEPT) break;
    known.delete(seq);
  }
  later = waiting.size ? setTimeout(fetchWaiting, PAUSE) : 0;
}

async function fetched(seqs) {
  try {
    return (await ask(`sessions/${data.session_id}/previews`, { seqs: seqs.join() })).previews;
  } catch {
    // A row is useful without its line.
    return {};
  }
}

function fill(element, text) {
  if (!text) return;
  element.textContent = text;
  element.title = text;
}

/** Return how long an event took; of one in progress, how long so far, which the page keeps up to date. */
export function took(page, at) {
  const { run } = page;
  if (run.took[at] >= 0) return duration(run.took[at] / 1e6);
  if (!page.isUnderWay(at)) return "–";
  const facts = { class: "pending", "data-since": run.start[at], title: `since ${stamp(run.clockOf(at))}` };
  return make("span", facts, duration((page.now - run.start[at]) / 1e6));
}

/** Return a sign that a call is the first of a loop, or repeats an earlier one. */
export function again(page, seq) {
  const rounds = page.repeats.get(seq);
  if (rounds === undefined) return null;
  return rounds
    ? make("span", { class: "tag loops again", title: `Called ${rounds} times with the same result` }, `×${rounds}`)
    : make("span", { class: "again faint", title: "Repeats an earlier call with the same result" }, "again");
}
