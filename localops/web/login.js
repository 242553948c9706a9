// The way in: a token from the fragment, or a key from the form, for a cookie. Then on to the page that was meant.

import "./base.js";
import { url } from "./url.js";

const status = document.getElementById("login-status");
const meant = location.pathname.startsWith(url("")) ? location.pathname.slice(url("").length) : unprefixed();
// The origin in front: a path that begins with two slashes would lead to another site.
const onward = () => location.replace(location.origin + url(meant === "login" ? "" : meant) + location.search);

/** What is meant where the address lacks the path that the server is below: the cookie is good below it only. */
function unprefixed() {
  return `${location.pathname}/` === url("") ? "" : location.pathname.slice(1);
}

async function enter(token) {
  const answer = await fetch(url("login"), {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Localops": "1" },
    body: JSON.stringify({ token }),
  });
  if (answer.ok) return onward();
  status.textContent = (await answer.json()).message;
}

// Whoever came from another site may have been let in before: only our own pages bring the cookie along.
async function knownAlready() {
  const answer = await fetch(url("api/1/sessions?limit=1"));
  if (answer.ok) onward();
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
else if (meant !== "login") knownAlready();
