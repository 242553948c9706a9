// Loaded before the modules of a page: `/` and what is typed after it are kept until base.js can put them into the
// field of the search, and start no shortcut.
(() => {
  // The text typed after `/`; null before it.
  let typed = null;
  const keep = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select")) return;
    if (typed === null && event.key !== "/") return;
    if (typed === null) typed = "";
    else if (event.key === "Escape") typed = null;
    else if (event.key === "Backspace") typed = typed.slice(0, -1);
    else if (event.key.length === 1 || event.key === "Enter") typed += event.key === "Enter" ? "\n" : event.key;
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  addEventListener("keydown", keep, { capture: true });
  /** End this, and return what was typed. */
  window.takeEarlyKeys = () => {
    removeEventListener("keydown", keep, { capture: true });
    return typed;
  };
})();
