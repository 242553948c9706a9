// Menus: a button that opens a box of choices, which arrow keys, Esc and a click elsewhere work on.

import { make } from "./base.js";
import { count } from "./formats.js";

/** Return a menu: a button that opens a box. */
export function menu(label, kind = "menu") {
  const box = make("div", { class: "box" }),
    summary = make("summary", {}, label);
  const element = make("details", { class: kind }, summary, box);
  const cut = () => {
    // Measuring a closed menu would make the browser lay it out only for that.
    if (element.open) box.classList.toggle("cut", box.scrollHeight - box.clientHeight - box.scrollTop > 8);
  };
  box.addEventListener("scroll", cut, { passive: true });
  // Its content is drawn again, and its own parts open and close.
  new MutationObserver(cut).observe(box, { childList: true, subtree: true, attributeFilter: ["open", "hidden"] });
  element.addEventListener("toggle", () => {
    if (!element.open) return;
    element.classList.remove("right");
    const { top, right } = box.getBoundingClientRect();
    element.classList.toggle("right", right > document.documentElement.clientWidth - 4);
    box.style.setProperty("--below", `${innerHeight - top - 8}px`);
    for (const other of document.querySelectorAll(`.${kind}[open]`)) if (other !== element) other.open = false;
    cut();
  });
  element.addEventListener("keydown", (event) => walk(event, element));
  return { element, box, summary, label };
}

/** Move the focus in a menu by the arrow keys. */
function walk(event, element) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const across = { ArrowRight: ".not", ArrowLeft: ".choice" }[event.key];
  const entry = event.target.closest(".entry");
  if (across && entry) entry.querySelector(across)?.focus();
  if (!by || !element.open || event.target.type === "number" || event.target.type === "date") return;
  event.preventDefault();
  event.stopPropagation();
  const stops = [...element.querySelectorAll("summary, .box input, .choice")].filter((one) => one.offsetParent);
  const at = entry ? stops.indexOf(entry.querySelector(".choice")) : stops.indexOf(event.target);
  stops[Math.min(stops.length - 1, Math.max(0, at + by))]?.focus();
}

addEventListener("click", (event) => {
  // An element that was clicked may be gone by now, and is then no reason to close its menu.
  if (!event.target.isConnected) return;
  for (const open of document.querySelectorAll(".menu[open]")) if (!open.contains(event.target)) open.open = false;
});
addEventListener(
  "keydown",
  (event) => {
    const open = event.key === "Escape" && document.querySelector(".menu[open]");
    if (!open) return;
    // It closes nothing else, such as the details of an event around it.
    event.preventDefault();
    open.open = false;
    open.querySelector("summary").focus();
  },
  { capture: true },
);

/** Return a listener that closes the menu, whose button gets the focus, before it runs. */
export const closing = (run) => (event) => {
  const open = event.currentTarget.closest(".menu");
  open.open = false;
  open.querySelector("summary").focus();
  run(event);
};

/** Return an entry of a menu, which can be chosen. */
export const choice = (label, on, run, amount = null) =>
  make(
    "button",
    { type: "button", class: "choice", "data-id": label, "data-key": label, "aria-pressed": String(on), onclick: run },
    make("span", {}, label),
    amount === null ? "" : make("span", { class: "faint num" }, count(amount)),
  );
