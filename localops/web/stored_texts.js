// Values that are stored in files beside the journal, put back in their places to be copied.

import { entriesOf, made } from "./exact.js";
import { fileOf } from "./files.js";

/** Return a value with the stored texts in it, and how many of them cannot be loaded here. */
export async function whole(value) {
  let missing = 0;
  const fill = async (each) => {
    if (!each || typeof each !== "object") return each;
    if (typeof each.$blob === "string") {
      const text = await textOf(each).catch(() => null);
      missing += text === null;
      return text ?? each;
    }
    if (!hasStored(each)) return each;
    const entries = await Promise.all(entriesOf(each).map(async ([key, inner]) => [key, await fill(inner)]));
    return Array.isArray(each) ? entries.map(([, inner]) => inner) : made(entries);
  };
  const filled = await fill(value);
  return [filled, missing];
}

const hasStored = (value) =>
  Boolean(value) &&
  typeof value === "object" &&
  (typeof value.$blob === "string" || Object.values(value).some(hasStored));

/** Return the text of a stored value, or null; what the server or a report decodes becomes base64 again. */
async function textOf({ $blob, head }) {
  const file = fileOf($blob);
  // A page in a file cannot read the address of a sound or a film.
  if (!file?.url || file.url.startsWith("blob:")) return null;
  const [begin] = /^data:[^,]*,/.exec(head) ?? [""];
  if (file.url.startsWith("data:")) return begin + file.url.slice(file.url.indexOf(",") + 1);
  const response = await fetch(file.url);
  if (!response.ok) return null;
  return file.kind === "application/octet-stream" ? response.text() : begin + (await base64Of(await response.blob()));
}

const base64Of = (blob) =>
  new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = failed;
    reader.readAsDataURL(blob);
  });
