// Redraw only what changed: an element that stays keeps its focus, its selection and a click that has begun.

// Elements that are replaced when their content changes: their listeners know the values that they were made with.
const WHOLE = new Set(["BUTTON", "INPUT", "SELECT", "TEXTAREA", "CANVAS", "VIDEO", "AUDIO"]);

/** Update an element to equal another one of the same name; return the one that is shown now. */
export function patch(element, fresh) {
  if (element.isEqualNode(fresh)) return element;
  if (element.nodeType === Node.TEXT_NODE && fresh.nodeType === Node.TEXT_NODE) {
    element.data = fresh.data;
    return element;
  }
  if (element.nodeName !== fresh.nodeName || element.nodeType !== Node.ELEMENT_NODE || isAnother(element, fresh)) {
    const hadFocus = element === document.activeElement;
    element.replaceWith(fresh);
    if (hadFocus) fresh.focus?.();
    return fresh;
  }
  for (const { name } of Array.from(element.attributes)) if (!fresh.hasAttribute(name)) element.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (element.getAttribute(name) === value) continue;
    // The policy of the pages forbids styles as text.
    if (name === "style") element.style.cssText = fresh.style.cssText;
    else element.setAttribute(name, value);
  }
  patchChildren(element, [...fresh.childNodes]);
  return element;
}

/** Return whether an element has its own listeners, and now represents something else. */
const isAnother = (element, fresh) =>
  WHOLE.has(element.nodeName) &&
  (element.dataset.key !== fresh.dataset.key || element.textContent !== fresh.textContent);

/** Change the children of an element into others, by their place. */
export function patchChildren(parent, nodes) {
  const fresh = nodes.map((node) => (typeof node === "string" ? document.createTextNode(node) : node));
  fresh.forEach((node, index) => {
    const there = parent.childNodes[index];
    if (there) patch(there, node);
    else parent.append(node);
  });
  while (parent.childNodes.length > fresh.length) parent.lastChild.remove();
}

/** Change the children of a parent into other elements; each is known by its `data-id`. */
export function keyed(parent, rows) {
  const wanted = new Set(rows.map((row) => row.dataset.id));
  const there = new Map();
  for (const row of Array.from(parent.children)) {
    if (wanted.has(row.dataset.id) && !there.has(row.dataset.id)) there.set(row.dataset.id, row);
    else row.remove();
  }
  let at = parent.firstElementChild;
  for (const fresh of rows) {
    const known = there.get(fresh.dataset.id);
    // Where it is already, it does not move: that would take its focus away.
    if (known && known === at) at = patch(known, fresh).nextElementSibling;
    else parent.insertBefore(known ? patch(known, fresh) : fresh, at);
  }
}
