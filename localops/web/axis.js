// Places on the axis of a timeline: times as they are, or with long gaps made short.

import { place as indexOf } from "./lanes.js";

// A gap that is skipped is as long as this part of the time in which something happened, so that its label has room;
// together they are a third of it at most.
const PART = 16,
  ALL = 3;

export class Axis {
  /** `gaps` are the [from, to] that are made short, in microseconds and in their order; `whole` is all time. */
  constructor(gaps = [], whole = 0) {
    this.gaps = gaps;
    const busy = Math.max(1, whole - gaps.reduce((sum, [from, to]) => sum + to - from, 0));
    this.short = gaps.map(([from, to]) => Math.min(to - from, busy / Math.max(PART, ALL * gaps.length)));
    this.starts = Float64Array.from(gaps, ([from]) => from);
    let gone = 0;
    // The places at which gaps begin, and how much time is left out before each.
    this.gone = Float64Array.from(gaps, ([from, to], index) => (gone += to - from - this.short[index]));
    this.places = Float64Array.from(gaps, ([from], index) => from - (index ? this.gone[index - 1] : 0));
  }

  /** Return the place of a time. */
  place(time) {
    if (!this.gaps.length) return time;
    const index = indexOf(this.starts, time) - 1;
    if (index < 0) return time;
    const [from, to] = this.gaps[index];
    if (time >= to) return time - this.gone[index];
    return this.places[index] + ((time - from) * this.short[index]) / (to - from);
  }

  /** Return the time at a place. */
  time(place) {
    const index = indexOf(this.places, place) - 1;
    if (index < 0) return place;
    const [from, to] = this.gaps[index],
      into = place - this.places[index];
    return into >= this.short[index]
      ? place + this.gone[index]
      : from + (into * (to - from)) / Math.max(this.short[index], 1e-9);
  }

  /** Return the gap that a time is in, or undefined. */
  gapAt(time) {
    const index = indexOf(this.starts, time) - 1;
    return index >= 0 && time > this.gaps[index][0] && time < this.gaps[index][1] ? this.gaps[index] : undefined;
  }
}
