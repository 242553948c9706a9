// Times as text, in UTC or in the time zone of this computer.  The choice is stored for all pages.

const KEY = "localops-zone";

function storedZone() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    // Without storage, pages use UTC.
    return null;
  }
}

const isHere = storedZone() === "here";
const here = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** The name of the time zone, as the server knows it. */
export const zone = isHere ? here : "UTC";
/** Whether there are two zones to choose from. */
export const hasChoice = here !== "UTC" && here !== "Etc/UTC";

/** Switch to the other time zone, and reload the page. */
export function switchZone() {
  try {
    localStorage.setItem(KEY, isHere ? "utc" : "here");
  } catch {
    return;
  }
  location.reload();
}

/** Parse a time of the server or the address; without a zone it is UTC. */
const parsed = (value) => new Date(typeof value === "string" && /T[^Z+-]*$/.test(value) ? `${value}Z` : value);

/** Return the offset from UTC in minutes. */
const ahead = (at) => (isHere ? -at.getTimezoneOffset() : 0);

/** Return a time as 2026-11-20 17:30:00, as the command line prints it. */
export function when(value) {
  const at = parsed(value);
  return new Date(at.getTime() + ahead(at) * 6e4).toISOString().slice(0, 19).replace("T", " ");
}

/** Return the time zone at a time: UTC, UTC+1, UTC−3:30. */
export function zoneAt(value) {
  const minutes = ahead(parsed(value)),
    size = Math.abs(minutes);
  if (!minutes) return "UTC";
  const rest = size % 60 ? `:${String(size % 60).padStart(2, "0")}` : "";
  return `UTC${minutes < 0 ? "−" : "+"}${Math.floor(size / 60)}${rest}`;
}

/** Return a time with its zone: 2026-11-20 17:30:00 UTC+1. */
export const stamp = (value) => `${when(value)} ${zoneAt(value)}`;

/** Return the day of a time for a date field; empty if the time is not valid. */
export const day = (value) => (value && !Number.isNaN(parsed(value).getTime()) ? when(value).slice(0, 10) : "");

/** Return the time at which a day begins, for the server. */
export const midnight = (text) =>
  text ? `${new Date(`${text}T00:00:00${isHere ? "" : "Z"}`).toISOString().slice(0, 19)}Z` : "";

/** Return a time of the address as short text: only the day if it is midnight. */
export const moment = (value) => (day(value) ? when(value).replace(/ 00:00:00$/, "") : value);
