// A day in the menu "When": typed digit by digit or picked, it is applied once it is a whole day.

import { make, say } from "./base.js";
import { EARLIEST, LATEST } from "./query.js";
import { day, midnight } from "./times.js";

export class DayField {
  /** `name` is the filter, `label` that of the field; `apply` is called with the beginning of a day, or "" for none. */
  constructor(name, label, apply) {
    Object.assign(this, { label, apply, applied: "" });
    this.input = make("input", {
      type: "date",
      min: EARLIEST,
      max: LATEST,
      onchange: () => this.take(),
      onblur: () => this.leave(),
      onkeydown: (event) => event.key === "Enter" && this.leave(),
    });
    this.element = make("label", { "data-id": ` ${name}` }, label, this.input);
  }

  /** Show what is applied; a field with the focus stays as it was typed. */
  draw(value) {
    this.applied = day(value);
    if (document.activeElement === this.input) return;
    this.input.value = this.applied;
    this.input.removeAttribute("aria-invalid");
  }

  /** Apply a complete day or an empty field; an incomplete or invalid day may still be typed. */
  take() {
    const { value, validity } = this.input;
    if (!validity.valid) return;
    this.input.removeAttribute("aria-invalid");
    if (value === this.applied) return;
    this.applied = value;
    this.apply(midnight(value));
  }

  /** Apply the day when the field loses the focus, or say what is expected. */
  leave() {
    if (this.input.validity.valid) return this.take();
    this.input.setAttribute("aria-invalid", "true");
    return say(`${this.label}: enter day, month and year, from ${EARLIEST} to ${LATEST}`);
  }
}
