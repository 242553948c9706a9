// A long list of rows of one height, of which only those in sight are elements.  Keys move through it.

import { make } from "./base.js";

const SPARE = 8;
const TALLEST = 8_000_000; // pixels: browsers cannot lay out much more in one element

export class VirtualList {
  /** `draw(index, element)` fills a row; `choose(index)` is called when one is meant. */
  constructor({ label, role = "grid", height = 28, draw, choose, key = () => false }) {
    Object.assign(this, { height, draw, choose, count: 0, current: -1, _rows: new Map(), _scale: 1 });
    this.rows = make("div", { class: "rows", role: "presentation" });
    this.element = make("div", { class: "scroll", role, tabindex: 0, "aria-label": label }, this.rows);
    this.element.addEventListener("scroll", () => this.paint(), { passive: true });
    this.element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.element) return;
      if (this.move(event.key) || key(event.key, this.current)) event.preventDefault();
    });
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row && !event.target.closest("button")) this.choose(Number(row.dataset.index));
    });
    new ResizeObserver(() => this.paint()).observe(this.element);
  }

  /** So many rows now; those in sight are drawn anew. */
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
    const offset = top * this._scale,
      shift = top - offset; // where the rows in sight begin, and where they go
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

  /** Marks a row, and brings it into sight. */
  mark(index) {
    this.current = index;
    if (index >= 0) {
      const at = index * this.height,
        top = this.element.scrollTop * this._scale,
        room = this.element.clientHeight;
      if (at < top || at + this.height > top + room) this.element.scrollTop = Math.max(0, at - room / 3) / this._scale;
    }
    this.paint();
    this._rows.get(index)?.scrollIntoView({ block: "nearest" }); // the page, too, where the list is taller than it
  }

  /** What a key chooses, from the row that is chosen, else from the first in sight; false if it is no key for that. */
  move(key) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.count, End: this.count }[key];
    if (!by || !this.count) return false;
    const here = this.current >= 0 ? this.current : Math.ceil((this.element.scrollTop * this._scale) / this.height) - 1;
    this.choose(Math.min(this.count - 1, Math.max(0, here + by)));
    return true;
  }
}
