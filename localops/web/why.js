// The post-mortem of a session, in a fold of its page: read when it is first opened.

import { ask, data, make } from "./base.js";

/** Return the fold. */
export function why() {
  const inside = make("div", { class: "inside" });
  let asked = false;
  const load = async () => {
    if (asked || !box.open) return;
    asked = true;
    inside.replaceChildren(make("p", { class: "faint" }, "Loading…"));
    try {
      const { page } = await ask(`sessions/${data.session_id}/why`);
      inside.replaceChildren(...page.map(section));
    } catch (error) {
      // Opened again, it asks again.
      asked = false;
      inside.replaceChildren(make("p", { class: "failed" }, error.message));
    }
  };
  const box = make("details", { id: "why", ontoggle: load }, make("summary", {}, "How it ended, and why"), inside);
  return box;
}

const section = ({ title, sentences }) =>
  make(
    "div",
    {},
    make("h3", {}, title),
    sentences.map((sentence) => make("p", {}, sentence)),
  );
