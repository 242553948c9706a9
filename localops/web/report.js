// The answers of a report, in place of a server's.  The file has for each session its facts, its events in columns, and
// a line of JSON for each event, which is parsed when it is shown.

import { stop } from "./clock.js";
import { Digits, entriesOf, made, parse } from "./exact.js";
import { know } from "./files.js";
import { folded, places, terms } from "./marks.js";
import { stamp } from "./times.js";

// Events that are searched before the page may draw again.
const PAUSE = 2_000;
// As on a server: messages of a prompt that are not folded, who speaks where a model does, and parts of its answer.
const FEW = 2,
  ANSWERS = new Set(["assistant", "model", "function_call", "reasoning"]);
// Keys of events that hold ids and not content.
const IDS = new Set(["id", "parent", "agent"]);

let id = "";
let answers = {};
let lines = [];
// Seq → the number of the line of an event, and the seq of the event around it.
const numbers = new Map();
const parents = new Map();
// The remaining pages of events in columns.
let pages = [];

const elements = (part) => [...document.querySelectorAll(`script[data-part="${part}"][data-of="${id}"]`)];
const missing = () => new Error("This is not in the report.");

/** Choose the session that the address names, or the only one; return whether there is one. */
export function open() {
  const all = [...document.querySelectorAll("script[data-part='facts']")];
  const wanted = new URLSearchParams(location.search).get("session");
  const facts = all.length === 1 ? all[0] : all.find((each) => each.dataset.of === wanted);
  if (!facts) return false;
  id = facts.dataset.of;
  facts.id = "data";
  const head = [...document.querySelectorAll("template")].find((each) => each.dataset.of === id);
  if (head) {
    document.documentElement.dataset.page = "session";
    document.getElementById("main").replaceChildren(head.content);
    document.title = `${document.querySelector("#head h1").textContent} · localops`;
  }
  const { video, ...rest } = JSON.parse(facts.textContent);
  if (video?.blob) facts.textContent = JSON.stringify({ ...rest, video: file(video) });
  if (rest.state === "Running") freeze(Date.parse(rest.began) + rest.seconds * 1e3);
  answers = JSON.parse(elements("answers")[0].textContent);
  lines = elements("events")[0].textContent.trim().split("\n");
  pages = elements("timeline");
  answers.entries.forEach((seq, number) => numbers.set(seq, number));
  return true;
}

/** Show a session that ran as it was when the report was written. */
function freeze(time) {
  stop(time);
  document.getElementById("written").textContent = `Report, as of ${stamp(time)}`;
}

/** Return what the server would for a path below /api/1. */
export async function answer(path, query) {
  const [, , what = "", seq = ""] = path.split("/");
  switch (what) {
    case "timeline":
      return columns();
    case "why":
    case "loops":
    case "steps":
      return answers[what];
    case "events":
      return event(seqOf(seq));
    case "matches":
      return search(query.text);
    case "previews":
      return previews(query.seqs.split(",").map(Number));
    default:
      throw missing();
  }
}

/** Return the seq of an event that is named by its seq or its id. */
function seqOf(named) {
  if (/^\d+$/.test(named)) return Number(named);
  const place = lines.findIndex((line) => line.includes(named) && JSON.parse(line).id === named);
  return answers.entries[place];
}

function lineOf(seq, read = JSON.parse) {
  const number = numbers.get(seq);
  if (number === undefined) throw missing();
  return read(lines[number]);
}

/** Return the next page of the events in columns: they are requested once, in order. */
function columns() {
  const page = JSON.parse(pages.shift().textContent);
  page.seq.forEach((seq, index) => parents.set(seq, page.parent[index]));
  return page;
}

function event(seq) {
  const line = lineOf(seq, parse),
    { attachments = [], tags = [] } = line,
    kept = attachments.map(file);
  know(kept);
  return made([
    ...entriesOf(line).filter(([key]) => key !== "preview" && key !== "attachments" && key !== "tags"),
    ["tags", tags],
    ["entry", seq],
    ["session", id],
    ["parent_entry", parents.get(seq) || null],
    ["attachments", kept],
  ]);
}

const files = new Map();

/** Return the facts of a file with the address of its content, if the report has it. */
function file(one) {
  if (!files.has(one.blob)) files.set(one.blob, addressOf(one));
  return { ...one, url: files.get(one.blob) };
}

function addressOf({ blob, kind }) {
  const kept = document.querySelector(`script[data-blob="${blob}"]`);
  if (!kept) return null;
  if (kind.startsWith("image/")) return `data:${kind};base64,${kept.textContent}`;
  // A browser can seek in a film only if it is more than an address.
  const bytes = Uint8Array.from(atob(kept.textContent), (character) => character.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: kind }));
}

async function previews(seqs) {
  // Not at the start: what it needs looks for the session that `open` chooses.
  const { pictureOf } = await import("./media.js");
  const reply = { previews: {}, pictures: {} };
  for (const seq of seqs) {
    const { preview, kind, screenshot, attachments = [] } = lineOf(seq);
    reply.previews[seq] = preview;
    if (kind !== "action") continue;
    const picture = attachments.map(file).find((each) => each.kind.startsWith("image/"));
    const url = picture ? picture.url : pictureOf(screenshot);
    if (url) reply.pictures[seq] = { url };
  }
  return reply;
}

/** Return the events that have all terms of a search in their content. */
async function search(text) {
  const wanted = terms(text),
    words = wanted.flatMap((term) => term.words);
  const entries = [],
    repeats = [];
  for (let number = 0; number < lines.length; number += 1) {
    // The page stays responsive while a long session is searched.
    // oxlint-disable-next-line no-await-in-loop
    if (number % PAUSE === PAUSE - 1) await new Promise((done) => setTimeout(done));
    const line = folded(lines[number]);
    if (!words.every((word) => line.includes(word))) continue;
    const one = parse(lines[number]);
    if (!hasAll(one, wanted)) continue;
    entries.push(answers.entries[number]);
    if (!hasAll(withoutRepeated(one), wanted)) repeats.push(answers.entries[number]);
  }
  return { entries, repeats, next_before: null, upto: Infinity, unread: 0 };
}

function hasAll(one, wanted) {
  const texts = textsOf(one);
  return wanted.every((term) => texts.some((each) => places(each, [term]).length));
}

/** Return an event without the messages that its prompt repeats of earlier calls: those up to the answer before. */
function withoutRepeated(one) {
  const { kind, prompt } = one;
  if (kind !== "llm" || !Array.isArray(prompt) || prompt.length <= FEW) return one;
  const isAnswer = (each) => ANSWERS.has(each?.role || each?.type);
  const own = prompt.slice(prompt.slice(0, -1).findLastIndex(isAnswer) + 1);
  const rest = entriesOf(one).filter(([key]) => key !== "preview" && key !== "prompt");
  return made([...rest, ["prompt", own]]);
}

/** Return all texts in a value, and the numbers as texts. */
function textsOf(value) {
  if (value instanceof Digits) return [value.text];
  if (typeof value === "string" || typeof value === "number") return [String(value)];
  if (!value || typeof value !== "object") return [];
  return entriesOf(value).flatMap(([key, inside]) => (IDS.has(key) ? [] : textsOf(inside)));
}
