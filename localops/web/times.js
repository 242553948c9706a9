// Moments as people read them: in UTC, or in the zone of this computer.  Which one is kept for the pages to come.

const KEY = "localops-zone";

function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a browser that keeps nothing stays with UTC
  }
}

const isHere = kept() === "here";
const here = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** The name of the zone, as the server knows it. */
export const zone = isHere ? here : "UTC";
/** Whether there are two zones to choose from. */
export const hasChoice = here !== "UTC" && here !== "Etc/UTC";

/** The other zone, from the next page on, which is this one opened anew. */
export function switchZone() {
  try {
    localStorage.setItem(KEY, isHere ? "utc" : "here");
  } catch {
    return;
  }
  location.reload();
}

/** A moment of the server's or of an address: what names no zone is in UTC. */
const parsed = (value) => new Date(typeof value === "string" && /T[^Z+-]*$/.test(value) ? `${value}Z` : value);

const ahead = (at) => (isHere ? -at.getTimezoneOffset() : 0); // minutes

/** 2026-11-20 17:30:00, as the command line writes it. */
export function when(value) {
  const at = parsed(value);
  return new Date(at.getTime() + ahead(at) * 6e4).toISOString().slice(0, 19).replace("T", " ");
}

/** The zone at a moment: UTC, UTC+1, UTC−3:30. */
export function zoneAt(value) {
  const minutes = ahead(parsed(value)),
    size = Math.abs(minutes);
  if (!minutes) return "UTC";
  const rest = size % 60 ? `:${String(size % 60).padStart(2, "0")}` : "";
  return `UTC${minutes < 0 ? "−" : "+"}${Math.floor(size / 60)}${rest}`;
}

/** 2026-11-20 17:30:00 UTC+1 */
export const stamp = (value) => `${when(value)} ${zoneAt(value)}`;

/** The day of a moment, as a field for dates has it; nothing for what is no moment. */
export const day = (value) => (value && !Number.isNaN(parsed(value).getTime()) ? when(value).slice(0, 10) : "");

/** The moment at which a day begins, for the server. */
export const midnight = (text) =>
  text ? `${new Date(`${text}T00:00:00${isHere ? "" : "Z"}`).toISOString().slice(0, 19)}Z` : "";

/** The moment at which the last so many days begin, today being one of them. */
export const sinceDay = (days) => midnight(day(Date.now() - (days - 1) * 864e5));

/** What an address says of time, short: a day where it is the beginning of one. */
export const moment = (value) => (day(value) ? when(value).replace(/ 00:00:00$/, "") : value);
