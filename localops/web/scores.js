// Scores and notes on the page of a session: what was given, and a form to give more.

import { ask, make } from "./base.js";
import { isReport } from "./clock.js";
import { stamp } from "./times.js";

// Made once: the page is drawn again while somebody writes.
let box = null,
  list = null,
  head = null,
  known = null;

/** Return the fold of a session's page with its scores. */
export function scores(one) {
  if (isReport && !one.scores?.length && !one.notes?.length) return null;
  if (!box) {
    list = make("div");
    head = make("summary", {}, "Scores and notes");
    box = make(
      "details",
      { id: "scores" },
      head,
      make("div", { class: "inside" }, list, isReport ? null : form(one.session_id)),
    );
  }
  draw(one);
  return box;
}

const shown = ({ value }) => (value === null ? "none" : String(value));

function draw(one) {
  known = one;
  const given = one.scores || [],
    notes = one.notes || [],
    counting = given.filter((each) => each.counts);
  head.textContent = counting.length
    ? `Scores and notes: ${counting.map((each) => `${each.name} ${shown(each)}`).join(", ")}`
    : "Scores and notes";
  const line = (each) =>
    make(
      "p",
      { class: each.counts === false ? "faint" : undefined },
      make("strong", {}, each.name ? `${each.name} ${shown(each)}` : "Note"),
      ` by ${each.by}, ${stamp(each.given)}`,
      each.event ? " on an event" : "",
      each.counts === false ? ", no longer counts" : "",
      each.comment || each.text ? make("span", {}, `: ${words(each.comment ?? each.text)}`) : null,
    );
  list.replaceChildren(...given.map(line), ...notes.map(line));
}

const words = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function form(id) {
  const field = (name, label, placeholder) => make("label", {}, label, make("input", { name, placeholder }));
  const problem = make("p", { role: "alert", class: "faint" });
  const send = async (body) => {
    problem.textContent = "";
    try {
      await ask(
        `sessions/${id}/scores`,
        {},
        { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) },
      );
      draw({ ...known, ...(await ask(`sessions/${id}`)) });
      return true;
    } catch (error) {
      problem.textContent = error.message;
      return false;
    }
  };
  const made = make(
    "form",
    {
      class: "scores",
      onsubmit: async (event) => {
        event.preventDefault();
        const { name, value, comment } = Object.fromEntries(new FormData(made));
        const body = name.trim() ? { name, value: valueOf(value), comment: comment || undefined } : { note: comment };
        if (await send(body)) made.reset();
      },
    },
    field("name", "Score", "such as correct"),
    field("value", "Value", "true, 0.8, good"),
    field("comment", "Comment (without a score: a note)", ""),
    make("button", {}, "Add"),
    make("button", { type: "button", onclick: () => send({ name: "star", value: isStarred() ? null : true }) }, "Star"),
  );
  return [made, problem];
}

const isStarred = () =>
  (known.scores || []).some((each) => each.counts && !each.event && each.name === "star" && each.value === true);

/** The value of an input: true, false, a number, else a category; an empty one withdraws an earlier score. */
function valueOf(text) {
  const clean = text.trim();
  if (clean === "") return null;
  if (clean.toLowerCase() === "true" || clean.toLowerCase() === "false") return clean.toLowerCase() === "true";
  const number = Number(clean);
  return Number.isFinite(number) ? number : clean;
}
