// What a tool was given and what it wrote, as in a terminal: its columns stay aligned, and its colours are shown.

import { make } from "./base.js";

const ESCAPE = "\\u001b";
// Codes of a terminal: those of colours with their numbers, and all others, which say nothing here.
const CODE = new RegExp(
  [
    `${ESCAPE}\\[([\\d;]*)m`,
    `${ESCAPE}\\[[\\d;?]*[ -/]*[@-~]`,
    `${ESCAPE}\\][^\\u0007${ESCAPE}]*(?:\\u0007|${ESCAPE}\\\\)`,
    `${ESCAPE}[ -/]*[0-Z\\\\^_a-z]`,
  ].join("|"),
  "g",
);
// Characters of a line up to which it scrolls instead of being broken.
const WIDEST = 400;

/** Return the pieces of a text: [text, classes]; classes are those of its colour and weight. */
export function pieces(text) {
  const parts = [];
  let colour = 0,
    isBold = false,
    from = 0;
  const add = (part) => {
    const kinds = [colour && `ansi-${colour}`, isBold && "bold"].filter(Boolean).join(" ");
    if (part) parts.push([part, kinds]);
  };
  for (const match of text.matchAll(CODE)) {
    add(text.slice(from, match.index));
    from = match.index + match[0].length;
    const numbers = match[1] === undefined ? [] : match[1].split(";").map(Number);
    // A colour of a palette, or one of three numbers: what follows is not a code of its own.
    const end = numbers.findIndex((number) => number === 38 || number === 48);
    for (const number of end < 0 ? numbers : numbers.slice(0, end)) {
      if (number === 0) [colour, isBold] = [0, false];
      else if (number === 1) isBold = true;
      else if (number === 22) isBold = false;
      else if (number === 39) colour = 0;
      else if (/^[39][1-6]$/.test(number)) colour = number % 10;
    }
  }
  add(text.slice(from));
  return parts;
}

/** Return a text as its lines; wide ones scroll, very wide ones are broken. */
export function lines(text) {
  const isWide = text.split("\n").some((line) => line.length > WIDEST);
  return make(
    "pre",
    { class: isWide ? "output wide" : "output", tabindex: 0 },
    pieces(text).map(([part, kinds]) => (kinds ? make("span", { class: kinds }, part) : part)),
  );
}

const FENCED = /^ {0,3}(```|~~~)[^\n]*\n[\s\S]*?^ {0,3}\1[ \t]*$/gm;
const SIGNS = [
  /^#{1,6} \S/m,
  /\[[^\]\n]{1,300}\]\(\S{1,500}\)/,
  /(?:^|[\s(])\*\*[^\s*][^*\n]*\*\*(?=[\s.,:;!?)]|$)/m,
  /^ {0,3}\|?(?: *:?-{3,}:? *\|)+ *(?::?-{3,}:? *)?$/m,
];
// Lines of programs and of differences between files.
const CODE_LINE = new RegExp(
  "^(?:#!|@@ |\\+\\+\\+ |--- a/|import [\\w.{*]+|from \\S+ import|\\s*(?:async )?(?:def|function) \\w+\\(|" +
    "class \\w+[(:{ ]|\\s*(?:const|let|var) \\w+ =)|[;{]\\s*$",
  "m",
);

/** Return whether a text is surely Markdown: a comment of a program looks like a heading, an option like a list. */
export function isDocument(text) {
  const outside = text.replace(FENCED, "");
  const signs = SIGNS.filter((sign) => sign.test(outside)).length + (outside === text ? 0 : 1);
  const isFence = /^\s*(```|~~~)/.test(text) && !outside.trim();
  return (signs > 1 || isFence) && !CODE_LINE.test(outside);
}
