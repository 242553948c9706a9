// The post-mortem of a session: in a fold of its page, read when it is first opened, and below a short timeline.

import { ask, data, make } from "./base.js";
import { patchChildren } from "./keyed.js";
import { table } from "./table.js";

const TITLE = "How it ended, and why",
  OPEN_TITLE = "How it is going";
// Milliseconds between two reads of the post-mortem of a running session.
const PAUSE = 5_000;
// The section about steps that run once, with what a resume does with each.
const RESUMED = "If it is resumed";
const BECOMES = {
  "give back": "returns its recorded result",
  run: "runs again",
  ask: "raises Uncertain",
  "not called": "is not called",
  wait: "is in progress",
  refuse: "raises StepError",
  "no resume": "cannot be resumed",
};
const STEPS = 100;

// Sentences that the fold of loops has, too.
let ofLoops = [];

/** Mark the sentences of the post-mortem that the fold of loops has, too: they are hidden while that is open. */
export function markRepeated(sentences = ofLoops) {
  ofLoops = sentences;
  for (const one of document.querySelectorAll(":is(#why, #story) p"))
    // There, the kind of the loop stands in front.
    one.classList.toggle(
      "repeated",
      sentences.some((each) => each.endsWith(one.dataset.sentence)),
    );
}

/** Return the sections of the post-mortem. */
async function read(select) {
  const { page, first_error, last_error, spending, steps } = await ask(`sessions/${data.session_id}/why`);
  const origins = [first_error, last_error].flatMap((error) => error?.origins ?? []);
  const spent = spending ? [spending.costliest, ...spending.parts.flatMap(({ first, last }) => [first, last])] : [];
  const numbers = new Map([...origins, ...spent.filter(Boolean)].map(({ id, seq }) => [id.slice(0, 23), seq]));
  const sections = page.map((each) => section(each, numbers, select));
  const resumed = steps ? page.findIndex(({ title }) => title === RESUMED) : -1;
  if (resumed >= 0) sections[resumed].append(...(await listed(select)));
  return sections;
}

const state = ({ state, tries, given }) =>
  `${state}${tries > 1 ? `, ${tries} tries` : ""}${given ? ", result given" : ""}`;

/** Return a table of the steps that run once, with a link to the last call of each. */
async function listed(select) {
  const { steps, more } = await ask(`sessions/${data.session_id}/steps`, { limit: STEPS });
  const rows = steps.map((one) =>
    make(
      "tr",
      {},
      make("td", { class: "short" }, link(one.name + (one.number > 1 ? ` (no. ${one.number})` : ""), one.seq, select)),
      make("td", { class: "short" }, state(one)),
      make("td", { class: "short" }, BECOMES[one.on_resume] + (one.scrubbed ? ", or StepError" : "")),
      make("td", {}, one.key === null ? one.input : `key=${one.key}`),
    ),
  );
  const heads = ["Step", "State", "When resumed it"].map((label) => [label, "short"]);
  return [
    table([...heads, ["Arguments"]], rows, { class: "table-wrap prose", tabindex: 0 }),
    more ? make("p", { class: "faint" }, `${more} more: localops steps lists them`) : "",
  ];
}

const loading = () => make("p", { class: "faint" }, "Loading…");
const failure = (error) => make("p", { class: "failed" }, error.message);

/** Return the fold; `select` is called with the number of an event whose link is clicked. */
export function why(select, isRunning) {
  const inside = make("div", { class: "inside" });
  let asked = false;
  const load = async () => {
    if (asked || !box.open) return;
    asked = true;
    inside.replaceChildren(loading());
    try {
      inside.replaceChildren(...(await read(select)));
      markRepeated();
    } catch (error) {
      // Opened again, it asks again.
      asked = false;
      inside.replaceChildren(failure(error));
    }
  };
  const box = make(
    "details",
    { id: "why", ontoggle: load },
    make("summary", {}, isRunning ? OPEN_TITLE : TITLE),
    inside,
  );
  return box;
}

/** The same as a card below a short timeline, also while the session is running. */
export class WhyCard {
  constructor(page, select) {
    this.page = page;
    this.select = select;
    this.inside = make("div", { class: "inside" }, loading());
    this.title = make("h2", { class: "visually-hidden", id: "story-title" });
    this.element = make(
      "section",
      { id: "story", "aria-labelledby": this.title.id, tabindex: 0 },
      this.title,
      this.inside,
    );
    // The last read, and when it began; null before the first.
    this.reading = null;
    this.began = -PAUSE;
  }

  /** Read it again: what did not change stays. Without `isNeeded`, not more often than every few seconds. */
  async renew(isNeeded = false) {
    const began = performance.now();
    if (!isNeeded && began - this.began < PAUSE) return;
    this.began = began;
    const reading = (this.reading = read(this.select));
    const shown = await reading.catch((error) => [failure(error)]);
    if (reading !== this.reading) return;
    this.title.textContent = this.page.running ? OPEN_TITLE : TITLE;
    patchChildren(this.inside, shown);
    markRepeated();
  }
}

/** Return a part of a page of sentences, with links to the events whose numbers are given by id. */
export const section = ({ title, sentences, events = [] }, numbers = new Map(), select = undefined) =>
  make(
    "div",
    {},
    make("h3", {}, title),
    sentences.map((sentence, place) => {
      const seq = events[place]?.seq;
      const own = seq == null ? [] : [" ", link(`event ${seq}`, seq, select)];
      return make("p", { "data-sentence": sentence }, ...linked(sentence, numbers, select), ...own);
    }),
  );

/** Return the parts of a sentence, with a link in place of each command that shows an event of these numbers. */
const linked = (sentence, numbers, select) =>
  sentence.split(/(`localops show [0-9a-f-]+ --event [0-9a-f-]{23}`)/).map((part, place) => {
    const seq = place % 2 ? numbers.get(part.slice(-24, -1)) : undefined;
    return seq === undefined ? part : link(`event ${seq}`, seq, select);
  });

const link = (label, seq, select) =>
  make(
    "a",
    {
      href: `?event=${seq}${location.hash}`,
      "data-seq": seq,
      onclick: (click) => {
        click.preventDefault();
        // Another event than at first, if the link was drawn again.
        select(Number(click.currentTarget.dataset.seq));
      },
    },
    label,
  );
