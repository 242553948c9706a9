"""What axe finds in a page, without looking at the contrast of a hundred cells that look the same."""

from __future__ import annotations

import importlib.resources
from functools import cache
from typing import Any

from playwright.sync_api import Page

# Mark elements whose words have the colours, the size and the surroundings of others before them.  What lies over
# something else is never among them, as its contrast depends on the place.
_MARK = """() => {
  const seen = new Set();
  let placed = 0;
  const look = (element, around) => {
    const style = getComputedStyle(element);
    let own = `${around} ${element.localName}.${element.className} ${style.color} ${style.backgroundColor}
      ${style.backgroundImage} ${style.opacity} ${style.fontSize} ${style.fontWeight} ${style.textShadow}
      ${style.display} ${style.visibility} ${element.disabled} ${element.getAttribute("aria-disabled")}`;
    if (!["static", "relative"].includes(style.position) || style.float !== "none") own += ` ${(placed += 1)}`;
    if (seen.has(own)) element.setAttribute("data-repeated", "");
    seen.add(own);
    for (const each of element.children) look(each, own);
  };
  look(document.body, "");
}"""
_RUN = f"""async (part) => {{
  axe.configure({{ rules: [{{ id: "color-contrast", selector: "*:not([data-repeated])" }}] }});
  ({_MARK})();
  const options = {{ resultTypes: ["violations"], selectors: false, preload: false }};
  const result = await axe.run(part ?? document, options);
  for (const each of document.querySelectorAll("[data-repeated]")) each.removeAttribute("data-repeated");
  return result.violations.map((each) => [each.id, each.nodes[0].html]);
}}"""


def violations(page: Page, part: str | None = None) -> list[tuple[Any, ...]]:
    """Return the rules that a page violates, each with an element; of a part of it if a selector is given."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"{_axe()};0")
    return [tuple(one) for one in page.evaluate(_RUN, part)]


@cache
def _axe() -> str:
    return (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
