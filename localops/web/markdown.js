// Markdown in recorded text: a small subset, as pieces of plain data, and those as elements.
// Parsing knows no elements, so it can be tested by itself.  Everything becomes text nodes inside our own elements; a
// link keeps its address only if that is http, https or mailto.

import { make } from "./base.js";

const FENCE = /^ {0,3}(```+|~~~+)\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/;
const RULE = /^ {0,3}([-*_])( *\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const QUOTE = /^ {0,3}> ?/;
const TABLE_LINE = /^\s*(\|\s*)?(:?-{2,}:?\s*\|\s*)+(:?-{2,}:?\s*)?$/;
// Deeper lists and quotes are shown as text: recorded text may be nested without end.
const DEEPEST = 6;

// In this order: code hides what is in it.  Emphasis begins and ends at a word, so that 2 * 3 * 4 and a_b_c have none.
// Lengths are bounded, since recorded text may be made to be slow.
const INLINE = new RegExp(
  [
    "(?<!`)(?<ticks>`+)(?!`)(?<code>[^`]|[^`].{0,1000}?[^`])\\k<ticks>(?!`)",
    '!?\\[(?<label>[^\\[\\]\\n]*)\\]\\((?<target>[^()\\s]*(?:\\([^()\\s]*\\)[^()\\s]*)*)(?:\\s+"[^"\\n]*")?\\)',
    "<(?<auto>https?://[^\\s<>]+)>",
    "(?<address>https?://[^\\s<>\"'`]*[^\\s<>\"'`.,;:!?)\\]}])",
    "(?<![\\w*])\\*\\*(?<strong>\\S|\\S[^\\n]{0,1000}?\\S)\\*\\*(?![\\w*])",
    "(?<![\\w*])\\*(?<em>[^\\s*]|[^\\s*][^*\\n]{0,1000}?[^\\s*])\\*(?![\\w*])",
    "(?<![\\w_])_(?<under>[^\\s_]|[^\\s_][^_\\n]{0,1000}?[^\\s_])_(?![\\w_])",
    "~~(?<gone>\\S|\\S[^\\n]{0,1000}?\\S)~~",
  ].join("|"),
  "gsu",
);
const SCHEME = /^(https?:|mailto:)/i;

/** Return whether a text has anything in it that Markdown would show in another way. */
export function isMarked(text) {
  return (
    /^ {0,3}(#{1,6}\s|```|~~~|>|[-*+]\s|\d{1,9}[.)]\s)/m.test(text) ||
    /\*\*\S|`[^`\n]+`|\]\(\S+\)|https?:\/\/\S|~~\S/.test(text) ||
    text.split("\n").some((line) => TABLE_LINE.test(line))
  );
}

/** Return the blocks of a text: {kind: "text" | "code" | "heading" | "rule" | "list" | "quote" | "table", …}. */
export function blocks(text, depth = 0) {
  const lines = text.split("\n"),
    result = [];
  let plain = [];
  const flush = () => {
    const joined = plain.join("\n").replace(/^\n+|\s+$/g, "");
    if (joined) result.push({ kind: "text", text: joined });
    plain = [];
  };
  let at = 0;
  const add = (block, next) => {
    flush();
    result.push(block);
    at = next;
  };
  while (at < lines.length) {
    const line = lines[at];
    const fence = FENCE.exec(line);
    if (fence) {
      const end = endOfFence(lines, at + 1, fence[1]);
      add({ kind: "code", language: fence[2], text: lines.slice(at + 1, end).join("\n") }, end + 1);
      continue;
    }
    const heading = HEADING.exec(line);
    if (heading) {
      add({ kind: "heading", level: heading[1].length, text: heading[2].trim().replace(/ #+$/, "") }, at + 1);
      continue;
    }
    if (RULE.test(line)) {
      add({ kind: "rule" }, at + 1);
      continue;
    }
    if (depth < DEEPEST && QUOTE.test(line)) {
      const end = firstNot(lines, at, (each) => QUOTE.test(each));
      const inside = lines.slice(at, end).map((each) => each.replace(QUOTE, ""));
      add({ kind: "quote", blocks: blocks(inside.join("\n"), depth + 1) }, end);
      continue;
    }
    if (depth < DEEPEST && ITEM.test(line)) {
      const [list, end] = listAt(lines, at, depth);
      add(list, end);
      continue;
    }
    if (line.includes("|") && TABLE_LINE.test(lines[at + 1] ?? "")) {
      const end = firstNot(lines, at + 2, (each) => each.includes("|"));
      const [head, ...rows] = [line, ...lines.slice(at + 2, end)].map(cells);
      add({ kind: "table", head, rows, sides: cells(lines[at + 1]).map(side) }, end);
      continue;
    }
    plain.push(line);
    at += 1;
    if (!line.trim()) flush();
  }
  flush();
  return result;
}

function firstNot(lines, at, test) {
  while (at < lines.length && test(lines[at])) at += 1;
  return at;
}

/** Return the line of the closing fence; an answer that was cut off has none. */
function endOfFence(lines, at, fence) {
  const closes = (line) => line.trim().startsWith(fence) && !line.trim().replaceAll(fence[0], "");
  return firstNot(lines, at, (line) => !closes(line));
}

function listAt(lines, at, depth) {
  const [, indent, mark] = ITEM.exec(lines[at]),
    ordered = /\d/.test(mark),
    items = [];
  const isItem = (line) => {
    const match = ITEM.exec(line);
    return match && match[1].length <= indent.length + 1 && /\d/.test(match[2]) === ordered;
  };
  while (at < lines.length && isItem(lines[at])) {
    const [whole, before, sign, first] = ITEM.exec(lines[at]),
      inner = whole.length - first.length,
      inside = [first];
    at += 1;
    // Lines of the item: indented ones, and blank ones between them.
    const belongs = (line, next) =>
      line.trim() ? /^\s*/.exec(line)[0].length > before.length : next?.trim() && /^\s*/.exec(next)[0].length >= inner;
    while (at < lines.length && belongs(lines[at], lines[at + 1]) && !isItem(lines[at])) {
      inside.push(lines[at].replace(new RegExp(`^\\s{0,${inner}}`), ""));
      at += 1;
    }
    items.push({ number: ordered ? parseInt(sign, 10) : null, blocks: blocks(inside.join("\n"), depth + 1) });
    // A blank line between two items of one list.
    if (!lines[at]?.trim() && lines[at + 1] !== undefined && isItem(lines[at + 1])) at += 1;
  }
  return [{ kind: "list", ordered, items }, at];
}

const cells = (line) =>
  line
    .trim()
    .replace(/^\||\|$/g, "")
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));

const side = (rule) => (/^:-+:$/.test(rule) ? "center" : rule.endsWith(":") ? "right" : "");

/** Return the pieces of one paragraph: [kind, text, address]; the kinds are text, code, link, strong, em and gone. */
export function spans(text) {
  const pieces = [];
  let from = 0;
  const add = (kind, part, address) => part && pieces.push(address ? [kind, part, address] : [kind, part]);
  for (const match of text.matchAll(INLINE)) {
    const part = match.groups;
    const [kind, inner] =
      part.code !== undefined
        ? ["code", part.code]
        : part.strong !== undefined
          ? ["strong", part.strong]
          : part.em !== undefined || part.under !== undefined
            ? ["em", part.em ?? part.under]
            : part.gone !== undefined
              ? ["gone", part.gone]
              : ["link", part.auto ?? part.address ?? part.label];
    const address = kind === "link" ? (part.auto ?? part.address ?? part.target) : "";
    // Anything but a usual address stays as it was written.
    if (kind === "link" && !SCHEME.test(address)) continue;
    add("text", text.slice(from, match.index));
    add(kind, inner || address, address);
    from = match.index + match[0].length;
  }
  add("text", text.slice(from));
  return pieces;
}

/** Return a text as an element with its Markdown drawn. */
export function drawn(text) {
  return make("div", { class: "markdown" }, blocks(text).map(element));
}

function element(block) {
  if (block.kind === "code") return code(block.text, block.language);
  if (block.kind === "heading") return make("p", { class: `heading h${Math.min(block.level, 4)}` }, line(block.text));
  if (block.kind === "rule") return make("hr");
  if (block.kind === "quote") return make("blockquote", {}, block.blocks.map(element));
  if (block.kind === "list") return list(block);
  if (block.kind === "table") return table(block);
  return make("p", {}, line(block.text));
}

function list({ ordered, items }) {
  const box = make(
    ordered ? "ol" : "ul",
    {},
    items.map((item) => make("li", { value: item.number }, item.blocks.map(element))),
  );
  // Numbers are left of the text, where a box that cuts overflow would cut them, too.
  if (ordered) box.style.setProperty("--digits", Math.max(...items.map((item) => String(item.number).length)));
  return box;
}

// Characters of a cell that is not broken into lines.
const SHORT = 20;

/** Return whether all texts of a column are short, so that its words need not be broken. */
export const isShort = (texts) => texts.every((text) => text.length <= SHORT);

function table({ head, rows, sides }) {
  const kinds = head.map((text, index) => {
    const texts = [text, ...rows.map((row) => row[index] ?? "")];
    return [sides[index], isShort(texts) && "short"].filter(Boolean).join(" ") || null;
  });
  const row = (name, texts) =>
    make(
      "tr",
      {},
      head.map((_, index) => make(name, { class: kinds[index] }, line(texts[index] ?? ""))),
    );
  return make(
    "div",
    { class: "table-wrap", tabindex: 0 },
    make(
      "table",
      {},
      make("thead", {}, row("th", head)),
      make(
        "tbody",
        {},
        rows.map((texts) => row("td", texts)),
      ),
    ),
  );
}

const code = (text, language) =>
  make("pre", { class: "code", tabindex: 0, "data-language": language || null }, make("code", {}, text));

const NAMES = { code: "code", strong: "strong", em: "em", gone: "s" };

function line(text, depth = 0) {
  return spans(text).map(([kind, part, address]) => {
    if (kind === "text") return part;
    if (kind === "link") return link(part, address);
    const inside = kind === "code" || depth > 3 ? part : line(part, depth + 1);
    return make(NAMES[kind], {}, inside);
  });
}

/** Return a link for a text that is an address; any other text as it is. */
export const linked = (text) => (/^https?:\/\/[^\s"'<>]+$/i.test(text) ? link(text, text) : text);

/** Return a link that opens elsewhere; where it leads is visible, whatever it calls itself. */
export function link(label, address) {
  const leads = make("a", { href: address, title: address, target: "_blank", rel: "noopener noreferrer" }, label);
  const host = /^https?:\/\/(?:[^/?#]*@)?([^/?#]+)/i.exec(address)?.[1];
  return host && !label.includes(host) ? [leads, make("span", { class: "faint" }, ` (${host})`)] : leads;
}
