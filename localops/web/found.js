// Make the words of a search visible in a shown value: open folds, and show long texts completely.

import { make } from "./base.js";
import { many } from "./formats.js";
import { lateIn, strings } from "./late.js";
import { firstHit, phrase, places, rangesIn, terms } from "./marks.js";

/**
 * Open what hides the words of a search in an element, unless they are in sight elsewhere in it.  Return whether all
 * words are there: those of an event can be in a part of it that is not shown.
 */
export function reveal(root, query) {
  const wanted = terms(query);
  fill(root, wanted);
  const nodes = texts(root);
  const hidden = wanted.filter((term) => {
    const hits = matches(nodes, term);
    return hits.length > 0 && !hits.some((hit) => isInSight(hit, root));
  });
  for (const term of hidden) {
    const hits = matches(nodes, term);
    open(hits.find((hit) => !isEarlier(hit.startContainer)) ?? hits[0], root, hidden);
  }
  // Each word may be in sight, and the place where they are adjacent not.
  const [adjacent] = matches(nodes, phrase(wanted)).filter((hit) => !isEarlier(hit.startContainer));
  if (adjacent && !isInSight(adjacent, root)) open(adjacent, root, hidden);
  return wanted.every((term) => matches(nodes, term).length > 0);
}

/** Scroll, if need be, until the first words of a search in an element are in sight. */
export function scrollToHit(root, query, scroll) {
  // In a closed fold, nothing can be scrolled to.
  const isDrawn = (range) => range.getBoundingClientRect().height > 0;
  const place = firstHit(root, query, isDrawn)?.getBoundingClientRect(),
    { top, bottom } = scroll.getBoundingClientRect();
  if (!place || (place.top >= top && place.bottom <= bottom)) return;
  scroll.scrollTop += place.top - top - scroll.clientHeight / 3;
}

const isEarlier = (node) => Boolean(node.parentElement.closest(".earlier"));

/** Draw parts that have words which are nowhere else: rests of texts and lists, folds, earlier messages. */
function fill(root, wanted) {
  const searched = [...wanted, phrase(wanted)];
  // What is drawn can have parts that are not.
  for (let late = lateIn(root); late.length;) {
    const nodes = texts(root).filter((node) => !isEarlier(node));
    const missing = searched.filter((term) => !matches(nodes, term).length);
    const next = missing.length && late.find(({ value }) => places(strings(value).join("\n"), missing).length);
    if (!next) return;
    next.draw();
    late = lateIn(root);
  }
}

function texts(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT),
    nodes = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) nodes.push(node);
  return nodes;
}

/** Return where a term is in texts, as ranges. */
const matches = (nodes, term) => rangesIn(nodes, (text) => places(text, [term]));

/** Return the elements around a range within another element, the innermost first. */
function around(range, root) {
  const all = [];
  for (let up = range.startContainer.parentElement; up && up !== root; up = up.parentElement) all.push(up);
  return all;
}

const isCut = (box, range) =>
  box.matches(".clip:not(.whole)") && range.getBoundingClientRect().bottom > box.getBoundingClientRect().bottom;

function isInSight(range, root) {
  const boxes = around(range, root);
  const isFolded = boxes.some((box, at) => box.matches("details:not([open])") && !boxes[at - 1]?.matches("summary"));
  return !isFolded && !boxes.some((box) => isCut(box, range));
}

function open(range, root, hidden) {
  const boxes = around(range, root);
  for (const fold of boxes.filter((box) => box.matches("details:not([open])"))) {
    fold.open = true;
    if (fold.matches(".earlier")) keepMatches(fold, hidden);
  }
  for (const box of boxes.filter((each) => isCut(each, range))) {
    box.classList.add("whole");
    box.classList.remove("cut");
    box.nextElementSibling?.remove();
  }
}

/** Show of the earlier messages of a prompt those that have the words, until a click on their fold shows all. */
function keepMatches(fold, hidden) {
  const [summary, ...messages] = fold.children;
  const met = messages.filter((message) => hidden.some((term) => matches(texts(message), term).length > 0));
  met.forEach((message) => message.classList.add("met"));
  const note = make("span", {}, `; ${many(met.length, "message")} with the words of the filter`);
  fold.classList.add("searched");
  summary.append(note);
  const showAll = (event) => {
    event.preventDefault();
    fold.classList.remove("searched");
    note.remove();
  };
  summary.addEventListener("click", showAll, { once: true });
}
