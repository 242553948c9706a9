// The rows of a long table: the one that keys point at, and clicks while rows are replaced.

import { make, shortcut } from "./base.js";
import { asksWithout } from "./filters.js";
import { keyed } from "./keyed.js";
import { narrowing } from "./query.js";

// Milliseconds after a replacement in which a click means what was under the pointer before.
const GRACE = 300;
// Rows before the end at which more are fetched.
const NEAR = 5;
// Elements that handle a click in a row themselves; also the cell of the box, which is easily missed by a little.
const CONTROLS = "a, button, input, label, select, summary, .pick";

export class Rows {
  /**
   * `body` has the rows, each with a `data-id`; `link` finds the link of a row, `one` is what a row is, `more` fetches
   * further rows, and `bar` has the filters that a click on a value changes.
   */
  constructor(body, { link, one, more, bar }) {
    Object.assign(this, { body, link, more, bar, current: "", aimed: null, replaced: -Infinity, isFormer: false });
    this.sign = make("p", { class: "loading", role: "status", hidden: true });
    const box = body.closest(".table-wrap"),
      table = body.closest("table");
    box.prepend(this.sign);
    // A box that scrolls would take its head along as the page scrolls; one whose table fits need not scroll.
    const fitted = new ResizeObserver(() => box.classList.toggle("fits", table.offsetWidth <= box.clientWidth));
    [box, table].forEach((one) => fitted.observe(one));
    this.still = Promise.resolve();
    addEventListener("pointerdown", () => this._hold());
    body.addEventListener("pointermove", (event) => (this.aimed = this._target(event)));
    body.addEventListener("pointerleave", () => (this.aimed = null));
    body.addEventListener("click", (event) => this._keepAim(event), { capture: true });
    body.addEventListener("click", (event) => this._filter(event));
    body.addEventListener("click", (event) => this._open(event));
    body.addEventListener("auxclick", (event) => event.button === 1 && this._open(event));
    // The middle button scrolls on some systems, where it would not open the row.
    body.addEventListener("mousedown", (event) => event.button === 1 && this._rowLink(event) && event.preventDefault());
    shortcut(["j", "ArrowDown"], `Next ${one}`, (event) => this._step(event, 1));
    shortcut(["k", "ArrowUp"], `Previous ${one}`, (event) => this._step(event, -1));
    shortcut("Enter", "Open it", () => {
      if (document.activeElement?.matches("a, button, summary") || !this.element) return false;
      this.element.querySelector(this.link).click();
    });
  }

  /** The row that keys point at, if it is among the rows. */
  get element() {
    return this.body.children[this._index] ?? null;
  }

  get _index() {
    return this.current ? [...this.body.children].findIndex((row) => row.dataset.id === this.current) : -1;
  }

  /** Show other rows; one of the same id stays. */
  replace(rows) {
    keyed(this.body, rows);
    this.replaced = performance.now();
    this._mark();
  }

  /** Say that the rows do not match the filters any more, and that others are on their way. */
  stale(isStale) {
    const table = this.body.closest("table");
    table.classList.toggle("stale", isStale);
    table.ariaBusy = String(isStale);
    this.sign.hidden = !isStale;
    this.sign.textContent = "Loading … these are the previous rows";
    this.isFormer = false;
    document.body.classList.remove("former");
  }

  /** Say that the rows and figures are the previous ones, as new ones could not be loaded. */
  failed() {
    this.body.closest("table").ariaBusy = "false";
    this.sign.textContent = "Not loaded: these are the previous rows";
    this.isFormer = true;
    document.body.classList.add("former");
  }

  _mark() {
    for (const row of this.body.children) row.classList.toggle("current", row.dataset.id === this.current);
  }

  _step({ key }, by) {
    const here = this._index,
      rows = this.body.children;
    // Until a row is chosen, arrow keys scroll the page.
    if (!rows.length || (here < 0 && key.startsWith("Arrow"))) return false;
    const at = Math.min(rows.length - 1, Math.max(0, here + by));
    this.current = rows[at].dataset.id;
    if (at > rows.length - NEAR) this.more();
    this._mark();
    rows[at].querySelector(this.link).focus({ preventScroll: true });
    rows[at].scrollIntoView({ block: "nearest" });
    return true;
  }

  /** While a button is held down nothing moves: `still` is resolved when it is released. */
  _hold() {
    const { promise, resolve } = Promise.withResolvers();
    this.still = promise;
    const release = () => setTimeout(resolve);
    for (const type of ["pointerup", "pointercancel", "blur"]) addEventListener(type, release, { once: true });
  }

  /** Follow the link that was under the pointer when its row was replaced a moment before the click. */
  _keepAim(event) {
    const { aimed } = this;
    const isLate = performance.now() - this.replaced < GRACE && event.detail > 0 && !event.button;
    if (!isLate || !aimed || aimed === this._target(event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.ctrlKey || event.metaKey) open(aimed.href, "_blank", "noopener");
    else location.assign(aimed.href);
  }

  /** Return the link that a click follows. */
  _target(event) {
    return event.target.closest("a") ?? this._rowLink(event);
  }

  /** Return the link of the row that a click is in, unless it is in a control. */
  _rowLink({ target }) {
    return target.closest(CONTROLS) ? null : (target.closest("tr")?.querySelector(this.link) ?? null);
  }

  /** A click beside the links of a row opens what its own link opens; one that selects text does not. */
  _open(event) {
    const link = this._rowLink(event);
    if (!link || event.shiftKey || event.altKey || !getSelection().isCollapsed) return;
    if (event.ctrlKey || event.metaKey || event.button === 1) open(link.href, "_blank", "noopener");
    else link.click();
  }

  /** A click on a value of a row filters by it; with Shift or Alt it leaves out the rows that have it. */
  _filter(event) {
    const link = event.target.closest("a[data-facet]");
    if (!link || event.ctrlKey || event.metaKey || event.button) return;
    event.preventDefault();
    const { facet, value } = link.dataset;
    if (asksWithout(event)) this.bar.toggle(facet, value, true);
    else this.bar.set(narrowing(this.bar.query(), facet, value));
  }
}

/** Return the rows below a refreshed page, which are not fetched again; `id` is the name of what tells rows apart. */
export function below(shown, fresh, id) {
  const last = shown.findIndex((one) => one[id] === fresh.at(-1)?.[id]);
  if (shown.length <= fresh.length || last < 0) return [];
  const known = new Set(fresh.map((one) => one[id]));
  return shown.slice(last + 1).filter((one) => !known.has(one[id]));
}
