// The links at the top of a page lead to the other pages with the same filters, as far as these know them.

import { changed, filtersOf, listed, own, search, words } from "./query.js";

// The pages with filters, by the end of their address, and whether they know the filters of calls.
const PAGES = { "": false, analytics: false, calls: true };

/** Let the links to other pages carry the filters of the address; a title names those that a page does not have. */
export function carry(query) {
  const filters = filtersOf(query);
  for (const link of document.querySelectorAll(".top nav a")) {
    const page = link.pathname.slice(link.pathname.lastIndexOf("/") + 1);
    if (!Object.hasOwn(PAGES, page)) continue;
    const left = listed(filters).filter(([name]) => Object.hasOwn(own, name) && !PAGES[page]);
    const known = changed(filters, Object.fromEntries(left.map(([name]) => [name, ""])));
    link.setAttribute("href", link.pathname + search(known));
    const names = left.map(([name, value]) => words(name, value));
    link.title = names.length ? `Without filters of calls: ${names.join(", ")}` : "";
  }
}
