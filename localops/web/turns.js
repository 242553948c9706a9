// The turns of a conversation that are in the page: a part of bounded length around what is in sight.  The others are
// drawn again when they come near, those that the reader opened as they were left.

import { make } from "./base.js";
import { many } from "./formats.js";
import { keyed } from "./keyed.js";

// Turns that are drawn at once, and those that are in the page at most.
const PAGE = 40,
  MOST = 120;
// Turns that were opened by a click and are kept while they are out of the page.
const OPENED = 30;

export class Turns {
  /** `draw(at)` returns the element of a turn; `drop(turn)` is called when one leaves the page, then `moved()`. */
  constructor(scroll, { draw, drop, moved }) {
    Object.assign(this, { scroll, draw, drop, moved, all: [], first: 0, end: 0 });
    // The number of an event → the element of its turn.
    this.elements = new Map();
    this.opened = new Map();
    this.touched = new WeakSet();
    this.before = make("button", {
      type: "button",
      class: "quiet",
      "data-id": "before",
      hidden: true,
      onclick: () => this.earlier(),
    });
    this.after = make("div", { "data-id": "after" });
    this.box = make("div", { class: "chat coming" });
    // Before the button that was clicked removes itself.
    const touch = ({ target }) =>
      target.closest(".body :is(button, summary)") && this.touched.add(target.closest(".turn"));
    this.box.addEventListener("click", touch, { capture: true });
    const near = (isNear, draw) =>
      new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && isNear() && draw(), {
        root: scroll,
        rootMargin: "800px",
      });
    // Turns grow when their content is loaded: stay at the end until the reader scrolls away.
    this.isAtEnd = false;
    new ResizeObserver(() => this.isAtEnd && this._down()).observe(this.box);
    for (const type of ["wheel", "touchmove"])
      scroll.addEventListener(type, () => (this.isAtEnd = false), { passive: true });
    scroll.addEventListener("scroll", () => (this.isAtEnd &&= scroll.scrollTop >= this.lowest - 1), { passive: true });
    // Observers report only changes, so observe again after each change.
    this.head = near(
      () => this.first > 0,
      () => this.earlier(),
    );
    this.foot = near(
      () => this.end < this.all.length,
      () => this.later(),
    );
  }

  /** Take the turns that there are now. Those in the page stay; after a reset to all turns, the one in sight stays. */
  take(all, isReset, isWhole = false) {
    const seen = isReset && isWhole ? this.inSight() : null;
    const [first, last] = [this.all[this.first], this.all[this.end - 1]].map((at) => all.indexOf(at));
    this.all = all;
    this.isAtEnd = false;
    // Turns that were opened under one filter are other turns under another filter.
    if (isReset) {
      this.opened.clear();
      this.touched = new WeakSet();
    }
    if (seen && all.includes(seen.at)) this._stay(seen);
    else if (isReset || first < 0 || last < first) this.begin(0);
    else this._set(Math.max(first, last + 1 - MOST), last + 1);
  }

  /** Draw turns from the one that was in sight on, and have it there again. */
  _stay({ at, below }) {
    this.begin(this.all.indexOf(at));
    const turn = this.elements.get(at);
    this.restore({ turn, below });
    this.stayed = turn;
  }

  /** Draw turns from this one on: a turn far down does not wait for all turns above it. */
  begin(first) {
    this.isAtEnd = false;
    for (const [at, turn] of this.elements) this._drop(at, turn);
    this._set(first, first + PAGE, null);
  }

  /** Have the turn at a place in the page, and return its element. */
  reach(place) {
    if (place < 0) return undefined;
    const isNear = place >= this.first - PAGE && place < this.end + PAGE;
    if (!isNear) this.begin(place);
    else if (place < this.first) this.earlier();
    else if (place >= this.end) this.later();
    return this.elements.get(this.all[place]);
  }

  earlier() {
    const first = Math.max(0, this.first - PAGE);
    this._set(first, Math.min(this.end, first + MOST));
  }

  later() {
    const end = Math.min(this.all.length, this.end + PAGE);
    this._set(Math.max(this.first, end - MOST), end);
  }

  /** Show the newest turn. */
  toEnd() {
    const { length } = this.all;
    this._set(Math.max(this.end < length - PAGE ? length - PAGE : this.first, length - MOST, 0), length, null);
    this.isAtEnd = true;
    this._down();
  }

  _down() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.lowest = Math.min(this.scroll.scrollTop, this.scroll.scrollHeight - this.scroll.clientHeight);
  }

  /** Return the first turn in sight, and how far below the edge it begins. */
  inSight() {
    const { top } = this.scroll.getBoundingClientRect();
    for (const at of this.all.slice(this.first, this.end)) {
      const box = this.elements.get(at)?.getBoundingClientRect();
      if (box && box.bottom > top) return { at, turn: this.elements.get(at), below: box.top - top };
    }
    return null;
  }

  /** Scroll until a turn is where it was in sight. */
  restore(sight) {
    if (!sight?.turn.isConnected) return;
    const { top } = this.scroll.getBoundingClientRect();
    this.scroll.scrollTop += sight.turn.getBoundingClientRect().top - top - sight.below;
  }

  /** Have these turns in the page, and those that hold the focus or a selection; what is in sight does not move. */
  _set(first, end, sight = this.inSight()) {
    const wanted = this.all.slice(first, end),
      isWanted = new Set(wanted);
    for (const [at, turn] of this.elements) if (!isWanted.has(at) && !this._isHeld(turn)) this._drop(at, turn);
    const held = [...this.elements.keys()].filter((at) => !isWanted.has(at)).map((at) => [this.all.indexOf(at), at]);
    held.sort(([one], [other]) => one - other);
    Object.assign(this, { first, end: first + wanted.length });
    const beside = (isBeside) => held.filter(([place]) => isBeside(place)).map(([, at]) => this.elements.get(at));
    // Otherwise a turn would be moved past them, and lose the focus.
    if (held.length) [this.before, this.after].forEach((sign) => sign.remove());
    this.before.hidden = !first;
    this.before.textContent = many(first, "earlier turn");
    keyed(this.box, [
      ...beside((place) => place < first),
      this.before,
      ...wanted.map((at) => this._element(at)),
      this.after,
      ...beside((place) => place >= first),
    ]);
    this.restore(sight);
    this.moved();
    this.watch();
  }

  /** Ask again whether an end of the part is near. */
  watch() {
    for (const [observer, sign] of [
      [this.head, this.before],
      [this.foot, this.after],
    ]) {
      observer.disconnect();
      observer.observe(sign);
    }
  }

  _element(at) {
    if (!this.elements.has(at)) this.elements.set(at, this.opened.get(at) ?? this.draw(at));
    this.opened.delete(at);
    return this.elements.get(at);
  }

  _drop(at, turn) {
    this.elements.delete(at);
    turn.remove();
    this.drop(turn);
    if (!this.touched.has(turn)) return;
    this.opened.set(at, turn);
    if (this.opened.size > OPENED) this.opened.delete(this.opened.keys().next().value);
  }

  /** Return whether a turn has the focus, or a part of a selection within the conversation. */
  _isHeld(turn) {
    if (turn.contains(document.activeElement)) return true;
    const selection = getSelection();
    return (
      !selection.isCollapsed &&
      this.box.contains(selection.anchorNode) &&
      this.box.contains(selection.focusNode) &&
      selection.containsNode(turn, true)
    );
  }
}
