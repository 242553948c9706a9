// The parts of a page, each fetched and drawn by itself.  On news, those out of sight wait until they are scrolled into
// view: a page that is open all day draws what somebody can see.

import { byId, make } from "./base.js";
import { keyed } from "./keyed.js";
import { fit, packed } from "./packed.js";

// Pixels around the window within which a part counts as in sight.
const MARGIN = 50;
// Milliseconds between two checks of what came into view.
const CHECK = 100;

export class Parts {
  /** `again()` is called when a part that waits comes into view. */
  constructor(places, again) {
    // By the id of their place and their name: they stay when they are drawn again.
    this.known = Object.fromEntries(places.map((place) => [place, new Map()]));
    this.waiting = new Set();
    this.timer = 0;
    for (const type of ["scroll", "resize"])
      addEventListener(type, () => this._check(again), { passive: true, capture: true });
  }

  /** Begin to draw them; parts that were drawn with the same `key` are shown already, and with `isNews` may wait. */
  begin({ key, signal, isNews }) {
    Object.assign(this, { key, signal, isNews });
    this.waiting.clear();
    // Whether no part waits.
    this.isWhole = true;
    this.last = Promise.resolve();
  }

  /**
   * Draw what `draw()` returns as a part, unless it waits; after those above it, which would move it when they come. On
   * news, a part is drawn once in `every` ms.
   */
  draw(place, name, draw, { isNeeded = false, every = 0 } = {}) {
    const part = this._part(place, name),
      { key, signal, last: before } = this,
      began = performance.now();
    if (this.isNews && !isNeeded && part.key === key) {
      const isHidden = !isInSight(part.slot);
      if (isHidden) this.waiting.add(part.slot);
      if (isHidden || began - part.began < every) {
        this.isWhole = false;
        return before;
      }
    }
    const mine = async () => {
      const boxes = [await draw()].flat();
      await before.catch(() => {});
      signal.throwIfAborted();
      keyed(part.slot, boxes);
      fit(part.slot);
      Object.assign(part, { key, began });
    };
    return (this.last = mine());
  }

  /** Put all parts into their places. */
  show() {
    for (const [place, parts] of Object.entries(this.known)) {
      byId(place).className = "charts";
      keyed(
        byId(place),
        Array.from(parts.values(), ({ slot }) => slot),
      );
    }
  }

  _part(place, name) {
    const parts = this.known[place];
    if (!parts.has(name))
      parts.set(name, { slot: packed(make("div", { class: "slot", "data-id": name })), key: null, began: 0 });
    return parts.get(name);
  }

  _check(again) {
    if (!this.waiting.size || this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      if ([...this.waiting].some(isInSight)) again();
    }, CHECK);
  }
}

/** Return whether a part is in or near the window; one without content is where the part before it ends. */
function isInSight(slot) {
  if (!slot.isConnected) return true;
  const before = slot.previousElementSibling;
  if (!slot.childElementCount) return !before || isInSight(before);
  return Array.from(slot.children).some((box) => {
    const { top, bottom } = box.getBoundingClientRect();
    return bottom > -MARGIN && top < innerHeight + MARGIN;
  });
}
