// Search the events of a session: names here, content on the server.

import { ask } from "./base.js";
import { asPrefix, unquoted } from "./query.js";

/** Yield the parts of what the server finds after a row, the newest events first. */
export async function* matching(id, text, after = 0) {
  let before = null;
  do {
    // Each request continues where the previous one stopped.
    // oxlint-disable-next-line no-await-in-loop
    const reply = await ask(`sessions/${id}/matches`, { text: asPrefix(text), after, before });
    yield reply;
    before = reply.next_before;
  } while (before !== null);
}

/** Add the events of a part to `hits`, and those whose text does not only repeat an earlier call to `fresh`, too. */
export function collect({ entries, repeats }, { hits, fresh }) {
  const known = new Set(repeats);
  for (const seq of entries) {
    hits.add(seq);
    if (!known.has(seq)) fresh.add(seq);
  }
}

/** Add the first event with the text to `fresh`, as no earlier call has the words. */
export function addFirst({ hits, fresh }) {
  if (hits.size) fresh.add([...hits].reduce((one, other) => Math.min(one, other)));
}

/** Return whether a name has all terms of a text. */
export const isNamed = (name, text) => unquoted(text).every((term) => name.toLowerCase().includes(term));

/** Return whether an event has what a filter looks for, or the error inside it with which it failed, as for calls. */
export function hasOrFailedWith(run, at, has) {
  if (has(at)) return true;
  const error = run.failed[at] === 1 ? run.errorIn(at) : -1;
  return error >= 0 && has(error);
}
