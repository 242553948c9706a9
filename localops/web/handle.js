// The handle between a view and the details of an event: dragged or moved by keys, its place is kept.

import { make } from "./base.js";

const KEY = "localops-details-width";
// Pixels: the least width of the details, the least width of the view, and the step of a key.
const LEAST = 280,
  LEFT = 320,
  STEP = 32;

export class Handle {
  /** Put the handle before a panel. */
  constructor(panel) {
    this.panel = panel;
    this.element = make("div", {
      class: "handle",
      role: "separator",
      tabindex: 0,
      hidden: true,
      "aria-orientation": "vertical",
      "aria-label": "Width of the details",
      "aria-controls": panel.id,
      title: "Drag, or use the arrow keys; double-click resets",
    });
    panel.before(this.element);
    new ResizeObserver(() => this.measure()).observe(panel);
    this.set(stored());
    this.element.addEventListener("pointerdown", (event) => {
      this.element.setPointerCapture(event.pointerId);
      event.preventDefault();
      this.element.focus();
    });
    this.element.addEventListener("pointermove", (event) => {
      if (this.element.hasPointerCapture(event.pointerId))
        this.set(this.panel.getBoundingClientRect().right - event.clientX);
    });
    this.element.addEventListener("pointerup", () => this.keep());
    this.element.addEventListener("dblclick", () => {
      this.set(0);
      this.keep();
    });
    this.element.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: STEP, ArrowRight: -STEP, Home: 1e4, End: -1e4 }[event.key];
      if (!by) return;
      event.preventDefault();
      this.set(this.panel.getBoundingClientRect().width + by);
      this.keep();
    });
  }

  /** Set the width in pixels; 0 for that of the style sheet. */
  set(width) {
    const most = Math.max(LEAST, innerWidth - LEFT);
    this.width = width ? Math.round(Math.max(LEAST, Math.min(most, width))) : 0;
    const { style } = document.documentElement;
    if (this.width) style.setProperty("--details-width", `${this.width}px`);
    else style.removeProperty("--details-width");
    this.measure();
    this.element.setAttribute("aria-valuemin", LEAST);
    this.element.setAttribute("aria-valuemax", most);
  }

  /** Say how wide the panel is: less than chosen in a narrow window, and unknown while it is hidden. */
  measure() {
    const width = Math.round(this.panel.getBoundingClientRect().width);
    this.element.setAttribute("aria-valuenow", width || this.width || LEAST);
  }

  keep() {
    try {
      localStorage.setItem(KEY, String(this.width));
    } catch {
      // Without storage, the width lasts as long as this page.
    }
  }
}

function stored() {
  try {
    return Number(localStorage.getItem(KEY)) || 0;
  } catch {
    return 0;
  }
}
