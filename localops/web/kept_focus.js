// The focus on a link that leads to another page of the same kind goes to the same link there.

const KEY = "localops-focus";

/** Keep the focus on links in a place, such as one that swaps what is compared. */
export function keepFocus(place, links) {
  place.addEventListener("click", (event) => {
    const link = event.target.closest(links);
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    try {
      sessionStorage.setItem(KEY, link.textContent);
    } catch {
      // Without storage the next page begins without a focus, as any does.
    }
  });
}

/** Focus the link of the page before, once the links of this page are there. */
export function returnFocus(place, links) {
  try {
    const name = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    [...place.querySelectorAll(links)].find((link) => link.textContent === name)?.focus();
  } catch {
    // As above.
  }
}
