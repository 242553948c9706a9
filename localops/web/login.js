// Log in with a token from the fragment or a key from the form, then go on to the requested page.

import "./base.js";
import { url } from "./url.js";

const status = document.getElementById("login-status");
const requested = location.pathname.startsWith(url("")) ? location.pathname.slice(url("").length) : unprefixed();
// With the origin, because a path that begins with two slashes would lead to another site.
const onward = () => location.replace(location.origin + url(requested === "login" ? "" : requested) + location.search);

/** Return the requested page if the address lacks the root path; the cookie is valid below the root path only. */
function unprefixed() {
  return `${location.pathname}/` === url("") ? "" : location.pathname.slice(1);
}

async function enter(token) {
  const response = await fetch(url("login"), {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Localops": "1" },
    body: JSON.stringify({ token }),
  });
  if (response.ok) return onward();
  status.textContent = (await response.json()).message;
}

// A visitor who follows a link from another site may be logged in: browsers send our cookie from our own pages only.
async function resume() {
  const response = await fetch(url("api/1/sessions?limit=1"));
  if (response.ok) onward();
}

const token = new URLSearchParams(location.hash.slice(1)).get("t");
const form = document.getElementById("login-form");
if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enter(form.elements.key.value);
  });
}
if (token) enter(token);
else if (requested !== "login") resume();
