// What events were given, a line each: fetched for the rows that are drawn, some at a time, and kept by seq.

import { ask, data, make } from "./base.js";

const PAUSE = 100; // milliseconds in which rows gather; what is only scrolled past is not asked for
const MOST = 200; // that the server tells of at once

const known = new Map(); // seq to its line
const waiting = new Map(); // seq to the element that its line goes into, and whether more may be told of it
let later = 0;

/** An element that says what an event was given, as soon as that is here. */
export function preview(seq, finished) {
  const element = make("span", { class: "preview" });
  if (known.has(seq)) tell(element, known.get(seq));
  else {
    waiting.set(seq, { element, finished });
    later ||= setTimeout(fetchThem, PAUSE);
  }
  return element;
}

async function fetchThem() {
  for (const [seq, { element }] of waiting) if (!element.isConnected) waiting.delete(seq);
  const asked = [...waiting.keys()].slice(-MOST);
  const told = asked.length ? await fetched(asked) : {};
  // The last events of a very large answer are given when they are asked for again.
  const some = Object.keys(told).length > 0;
  for (const seq of asked) {
    const text = told[seq],
      { element, finished } = waiting.get(seq);
    if (some && text === undefined) continue;
    if (text || (finished && text === "")) known.set(seq, text);
    tell(element, text);
    waiting.delete(seq);
  }
  later = waiting.size ? setTimeout(fetchThem, PAUSE) : 0;
}

async function fetched(seqs) {
  try {
    return (await ask(`sessions/${data.session_id}/previews`, { seqs: seqs.join() })).previews;
  } catch {
    return {}; // a row without its line is a row still
  }
}

function tell(element, text) {
  if (!text) return;
  element.textContent = text;
  element.title = text;
}
