// The sessions that were opened last in this browser, for the palette.

const KEY = "localops-recent";
const MOST = 20;

/** Return them, the newest first: `[{ id, name, began, tags }]`. */
export function recent() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || [];
  } catch {
    return [];
  }
}

/** Put a session first. */
export function remember({ session_id: id, name, began, tags }) {
  try {
    const others = recent().filter((one) => one.id !== id);
    localStorage.setItem(KEY, JSON.stringify([{ id, name, began, tags }, ...others].slice(0, MOST)));
  } catch {
    // Without storage there are none.
  }
}

/** Forget them, at a logout. */
export function forget() {
  try {
    localStorage.removeItem(KEY);
  } catch {
    // Without storage there are none.
  }
}
