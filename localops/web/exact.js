// JSON with the digits and the order in which it was recorded.  Values are plain objects, arrays and numbers; what
// those cannot hold, such as the digits of 1.10 or a key that is there twice, is kept beside them.

/** A number whose digits JavaScript would write in another way. */
export class Digits {
  constructor(text) {
    this.text = text;
  }
}

// Object or array → its entries as recorded, if a plain one differs.
const recorded = new WeakMap();
// Keys that an object moves to its front.
const INDEX = /^\d+$/;
const NUMBER = /[-+.eE\d]+/y;

/** Return the entries of an object or an array as they were recorded: `[key, value]`, a number may be `Digits`. */
export const entriesOf = (value) => recorded.get(value) ?? Object.entries(value);

/** Return the value of a key, where a number may be `Digits`. */
export const at = (value, key) =>
  typeof value?.[key] === "number"
    ? (recorded.get(value)?.findLast(([each]) => String(each) === String(key))?.[1] ?? value[key])
    : value?.[key];

/** Return an object with these entries, of which it keeps order, repeated keys and digits. */
export function made(entries) {
  const value = {};
  let isPlain = true;
  for (const [key, one] of entries) {
    const isDigits = one instanceof Digits;
    isPlain &&= !isDigits && !INDEX.test(key) && !Object.hasOwn(value, key);
    const plain = isDigits ? Number(one.text) : one;
    // An assignment would change the prototype.
    if (key === "__proto__") Object.defineProperty(value, key, { value: plain, enumerable: true, configurable: true });
    else value[key] = plain;
  }
  if (!isPlain) recorded.set(value, entries);
  return value;
}

function madeList(items) {
  if (!items.some((one) => one instanceof Digits)) return items;
  const value = items.map((one) => (one instanceof Digits ? Number(one.text) : one));
  recorded.set(value, [...items.entries()]);
  return value;
}

/** Parse JSON as `JSON.parse` does, and keep how it was recorded. */
export function parse(text) {
  const plain = JSON.parse(text);
  if (typeof plain !== "object" || plain === null) return plain;
  try {
    return read(text);
  } catch (error) {
    // Nested deeper than the stack of this parser.
    if (error instanceof RangeError) return plain;
    throw error;
  }
}

/** Return the value of a text that is known to be valid JSON. */
function read(text) {
  let place = 0;
  const skip = () => {
    while (text.charCodeAt(place) <= 32) place += 1;
  };
  const string = () => {
    let end = place;
    do end = text.indexOf('"', end + 1);
    while (isEscaped(text, end));
    const whole = text.slice(place, (place = end + 1));
    return whole.includes("\\") ? JSON.parse(whole) : whole.slice(1, -1);
  };
  const number = () => {
    NUMBER.lastIndex = place;
    const [digits] = NUMBER.exec(text);
    place += digits.length;
    const plain = Number(digits);
    return String(plain) === digits ? plain : new Digits(digits);
  };
  const items = (end, item) => {
    const all = [];
    place += 1;
    for (skip(); text[place] !== end; skip()) {
      all.push(item());
      skip();
      if (text[place] === ",") place += 1;
    }
    place += 1;
    return all;
  };
  const entry = () => {
    const key = string();
    skip();
    place += 1;
    return [key, value()];
  };
  const word = (known, length) => {
    place += length;
    return known;
  };
  const value = () => {
    skip();
    switch (text[place]) {
      case "{":
        return made(items("}", entry));
      case "[":
        return madeList(items("]", value));
      case '"':
        return string();
      case "t":
        return word(true, 4);
      case "f":
        return word(false, 5);
      case "n":
        return word(null, 4);
      default:
        return number();
    }
  };
  return value();
}

/** Return whether a quote is after an odd number of backslashes. */
function isEscaped(text, end) {
  let before = end;
  while (text[before - 1] === "\\") before -= 1;
  return (end - before) % 2 === 1;
}

/** Return a value as JSON with its recorded digits; lines are indented by two spaces. */
export function write(value, indent = "") {
  if (value instanceof Digits) return value.text;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const inner = `${indent}  `,
    isList = Array.isArray(value);
  const lines = entriesOf(value)
    .filter(([, each]) => each !== undefined)
    .map(([key, each]) => `${inner}${isList ? "" : `${JSON.stringify(key)}: `}${write(each, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  return lines.length ? `${open}\n${lines.join(",\n")}\n${indent}${close}` : open + close;
}
