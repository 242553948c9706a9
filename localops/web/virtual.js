// A long list of rows of equal height; only visible rows have elements.  Arrow keys move through it.

import { make } from "./base.js";

const SPARE = 8;
// Pixels of a row; on a narrow screen it has two lines.
const HEIGHT = 28,
  HEIGHT_OF_TWO = 46;
const PHONE = matchMedia("(max-width: 44rem)");
// Pixels: browsers cannot lay out a much taller element, so a longer list is scaled.
const TALLEST = 8_000_000;

export class VirtualList {
  /** `draw(index, element)` fills a row; `choose(index, how)` gets the chosen one, `how.isStep` after a click. */
  constructor({ label, role = "grid", draw, choose, key = () => false }) {
    Object.assign(this, { draw, choose, count: 0, current: -1, _rows: new Map(), _scale: 1 });
    this.height = PHONE.matches ? HEIGHT_OF_TWO : HEIGHT;
    this.rows = make("div", { class: "rows", role: "presentation" });
    this.element = make("div", { class: "scroll", role, tabindex: 0, "aria-label": label }, this.rows);
    this.element.addEventListener("scroll", () => this.paint(), { passive: true });
    this.element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.element) return;
      if (this.move(event.key) || key(event.key, this.current)) event.preventDefault();
    });
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row && !event.target.closest("button")) this.choose(Number(row.dataset.index), { isStep: true });
    });
    PHONE.addEventListener("change", () => {
      this.height = PHONE.matches ? HEIGHT_OF_TWO : HEIGHT;
      this.show(this.count);
    });
    new ResizeObserver(() => this.paint()).observe(this.element);
  }

  /** Set the number of rows, and draw the visible ones again. */
  show(count) {
    this.count = count;
    this.element.setAttribute("aria-rowcount", count);
    const tall = count * this.height;
    this._scale = Math.max(1, tall / TALLEST);
    this.rows.style.height = this.element.style.height = `${tall / this._scale}px`;
    this._rows.forEach((row) => row.remove());
    this._rows.clear();
    this.paint();
  }

  paint() {
    const top = this.element.scrollTop,
      room = this.element.clientHeight;
    // Rows that all fit leave no room for a scroll bar.
    this.element.parentElement?.classList.toggle("scrolls", this.count * this.height > room);
    // Where visible rows begin in the unscaled list, and by how much they are moved into the scaled one.
    const offset = top * this._scale,
      shift = top - offset;
    const from = Math.max(0, Math.floor(offset / this.height) - SPARE);
    const to = Math.min(this.count, Math.ceil((offset + room) / this.height) + SPARE);
    for (const [index, row] of this._rows) {
      if (index >= from && index < to) continue;
      row.remove();
      this._rows.delete(index);
    }
    for (let index = from; index < to; index += 1) {
      let row = this._rows.get(index);
      if (!row) {
        row = make("div", { class: "row", "data-index": index, "aria-rowindex": index + 1, id: `row-${index}` });
        this.draw(index, row);
        this._rows.set(index, row);
        this.rows.append(row);
      }
      row.style.top = `${index * this.height + shift}px`;
      row.classList.toggle("current", index === this.current);
      row.setAttribute("aria-selected", index === this.current);
    }
    if (this._rows.has(this.current)) this.element.setAttribute("aria-activedescendant", `row-${this.current}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  /** Scroll to a row, if it is out of sight. */
  reveal(index) {
    if (index < 0) return;
    const at = index * this.height,
      top = this.element.scrollTop * this._scale,
      room = this.element.clientHeight;
    if (at < top || at + this.height > top + room) this.element.scrollTop = Math.max(0, at - room / 3) / this._scale;
    this.paint();
  }

  /** Mark a row, and scroll to it. */
  mark(index) {
    this.current = index;
    this.reveal(index);
    this.paint();
    // Scrolls the page, too, if the list is taller than the window.
    this._rows.get(index)?.scrollIntoView({ block: "nearest" });
  }

  /** Move the choice by a key, from the chosen row or the first visible one; return false for any other key. */
  move(key) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.count, End: this.count }[key];
    if (!by || !this.count) return false;
    const here = this.current >= 0 ? this.current : Math.ceil((this.element.scrollTop * this._scale) / this.height) - 1;
    this.choose(Math.min(this.count - 1, Math.max(0, here + by)));
    return true;
  }
}
