"""The pages: HTML that can be read before any script runs, and the facts that the scripts start with.

Everything recorded goes through `escape`, or is JSON without characters that mean something in HTML.  The files in
`localops/web/` decide what pages look like and do.
"""

from __future__ import annotations

import asyncio
import uuid
from html import escape

from starlette.responses import RedirectResponse, Response

from localops import __version__, output
from localops.encoding import encode
from localops.reading import page_html
from localops.reading.facts import neither
from localops.server import browser_guard, calls_page, early_html, web_files
from localops.server.request import Call, HttpError
from localops.server.routes import ENDPOINTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from localops.reading.facts import Facts
    from localops.server.operator_api import OperatorApi
    from localops.server.read_api import ReadApi
    from localops.server.threads import Service

# Bytes of the body of a login.
_LARGEST_LOGIN = 4_096
# Days that a browser keeps the cookie; it stops working when the process ends.
_DAYS = 30


class Pages:
    """Handlers of the addresses for people."""

    def __init__(
        self, read_api: ReadApi, service: Service, logins: browser_guard.Logins, operator: OperatorApi | None = None
    ) -> None:
        self.read_api, self.service, self.operator = read_api, service, operator
        self.logins = logins
        self.local = service.keys is None
        self.root = service.root

    # Pages

    async def sessions(self, call: Call) -> Response:
        """Return the list of sessions."""
        facts = await self.read_api.list_of(call)
        return self._page("sessions", "Sessions", _session_list(facts, self.root, _chosen(call)), facts)

    async def session(self, call: Call) -> Response:
        """Return the page of a session; redirect from `last` and the beginning of an id."""
        ident = str(call.request.path_params["session"])
        if not _is_full(ident):
            full_id = await self.service.read(self.service.store.find, call.project, ident)
            return RedirectResponse(f"{self.root}/s/{full_id}", 303)
        facts = await self.read_api.details_of(call)
        inside = page_html.session_head(facts, filtered=bool(call.param("kind") or call.param("text")))
        return self._page("session", str(facts["name"] or "Session"), inside, facts)

    async def analytics(self, call: Call) -> Response:
        """Return the page of figures across sessions."""
        facts = await self.read_api.sums_of(call)
        return self._page("analytics", "Analytics", _across(facts, _chosen(call)), facts)

    async def calls(self, call: Call) -> Response:
        """Return the page of calls across sessions, or of groups of them."""
        facts = await (self.read_api.calls_of if call.param("by") is None else self.read_api.groups_of)(call)
        return self._page("calls", "Calls", calls_page.inside(facts, self.root, _chosen(call)), facts)

    async def conversation(self, call: Call) -> Response:
        """Return the page of a conversation: its sessions, the first ones first, and their chat."""
        name = call.param("conversation")
        if not name:
            raise HttpError(400, "no conversation is named: add ?conversation=NAME")
        facts = await self.read_api.conversation_of(call)
        return self._page("conversation", name, _conversation(name, facts, self.root), facts)

    async def compare(self, call: Call) -> Response:
        """Return the page that compares two sessions."""
        sides = {"a": call.param("a"), "b": call.param("b")}
        return self._page("compare", "Compare", _compare(sides), sides)

    async def senders(self, call: Call) -> Response:
        """Return the page of the machines that send to a hub."""
        if self.operator is None:
            raise HttpError(404, "only a hub has machines that send to it")
        from localops.server import senders_page

        facts = await self.operator.senders_of(call)
        return self._page("senders", "Senders", senders_page.inside(facts), facts)

    def _page(self, name: str, title: str, inside: str, facts: object) -> Response:
        return _page(name, title, inside, facts, root=self.root, can_leave=not self.local)

    def error(self, status: int, message: str) -> Response:
        """Return an error as a page."""
        title = _TITLES.get(status, "Something went wrong")
        inside = f"""<section class="notice">
<h1>{escape(title)}</h1>
<p>{_sentence(message)}</p>
<p><a href="{self.root}/">All sessions</a></p>
</section>"""
        return _page("error", title, inside, {"status": status, "message": message}, status, root=self.root)

    # Login and logout

    async def login_required(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the login page, at any address."""
        is_cross_site = dict(scope["headers"]).get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
        await self.login_page(403 if is_cross_site else 401)(scope, receive, send)

    async def login(self, _: Request) -> Response:
        """Return the login page."""
        return self.login_page(200)

    def login_page(self, status: int) -> Response:
        """Return the login page with this status."""
        inside = _LOCAL_LOGIN if self.local else _HUB_LOGIN.format(root=self.root)
        return _page("login", "Log in", inside, {"local": self.local}, status, root=self.root)

    async def enter(self, request: Request) -> tuple[Response, browser_guard.Visitor | None]:
        """Log in with a token or a key, and set the cookie; return the visitor as well."""
        secret = await _token(request)
        cookie, visitor = await asyncio.to_thread(self.logins.enter, secret) if secret else (None, None)
        if cookie is None:
            problem = (
                "this link is not valid any more"
                if self.local
                else "the key is unknown or revoked, has expired, or can only send"
            )
            return Response(encode.dumps({"message": problem}), 401, media_type="application/json"), None
        answer = Response(encode.dumps({"message": "welcome"}), media_type="application/json")
        answer.set_cookie(
            browser_guard.cookie_name(request.scope),
            cookie,
            max_age=_DAYS * 86_400,
            path=self._cookie_path,
            httponly=True,
            samesite="strict",
            secure="https" in (request.url.scheme, request.headers.get("origin", "").partition(":")[0]),
        )
        return answer, visitor

    async def leave(self, request: Request) -> Response:
        """Log out, and delete the cookie."""
        self.logins.leave(request)
        answer = Response(encode.dumps({"message": "goodbye"}), media_type="application/json")
        answer.delete_cookie(
            browser_guard.cookie_name(request.scope), self._cookie_path, httponly=True, samesite="strict"
        )
        return answer

    @property
    def _cookie_path(self) -> str:
        """Return the root path, so that the cookie is not sent to other servers behind the same proxy."""
        return self.root or "/"


def _sentence(message: str) -> str:
    """Return the message of an error as a sentence of HTML, with its commands as code."""
    parts = escape(message[:1].upper() + message[1:], quote=False).split("`")
    inside = "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
    return inside if inside.endswith((".", "?", "!")) else f"{inside}."


_TITLES = {400: "Invalid request", 404: "Not found", 503: "Not available now"}


def _page(
    name: str, title: str, inside: str, facts: object, status: int = 200, *, root: str, can_leave: bool = False
) -> Response:
    html = _frame(name, title, inside, facts, root=root, can_leave=can_leave)
    return Response(html, status, {"Cache-Control": "no-store"}, "text/html; charset=utf-8")


def _is_full(ident: str) -> bool:
    try:
        return str(uuid.UUID(ident)) == ident
    except ValueError:
        return False


async def _token(request: Request) -> str | None:
    """Return the token in the body of a login."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_LOGIN:
            return None
    try:
        document = encode.loads(body)
    except ValueError:
        return None
    token = document.get("token") if isinstance(document, dict) else None
    return token if isinstance(token, str) else None


# HTML

_FRAME = """<!doctype html>
<html lang="en" data-page="{page}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · localops</title>
<link rel="icon" href="{files}icon.svg" type="image/svg+xml">
<script src="{files}theme.js"></script>
<script src="{files}early_keys.js"></script>
<link rel="stylesheet" href="{files}style.css">{style}
<script type="module" src="{files}{page}.bundle.js"></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="top">
<a class="brand" href="{root}/">localops</a>
<nav aria-label="Pages">{nav}</nav>
<div class="tools" id="tools"{leave}></div>
</header>
<main id="main" tabindex="-1">
{inside}
</main>
<footer class="foot">localops {version}</footer>
<script type="application/json" id="data">{data}</script>
</body>
</html>
"""
# Pages with a style sheet of their own.
_STYLED = {"calls": "calls", "session": "session", "conversation": "session"}
_NAV = (
    ("sessions", "/", "Sessions"),
    ("calls", "/calls", "Calls"),
    ("analytics", "/analytics", "Analytics"),
    ("compare", "/compare", "Compare"),
)
_OF_HUB = (("senders", "/senders", "Senders"),)

_LOCAL_LOGIN = """<section class="notice" id="login">
<h1>Log in</h1>
<p id="login-status" role="status">Open the link that <code>localops ui</code> printed:
it ends in <code>#t=…</code>.</p>
<p>Lost it? Run <code>localops ui</code> again.</p>
</section>"""
_HUB_LOGIN = """<section class="notice" id="login">
<h1>Log in</h1>
<p id="login-status" role="status">Enter a key of the project.
Create one with <code>localops hub key create</code>.</p>
<form id="login-form" method="post" action="{root}/login">
<label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required>
<button type="submit">Log in</button>
</form>
</section>"""


def _frame(page: str, title: str, inside: str, facts: object, *, root: str, can_leave: bool) -> str:
    nav = "".join(
        f'<a href="{root}{path}"{" aria-current=page" if name == page else ""}>{label}</a>'
        for name, path, label in (*_NAV, *(_OF_HUB if can_leave else ()))
    )
    files = f"{root}{web_files.folder()}"
    style = f'\n<link rel="stylesheet" href="{files}{_STYLED[page]}.css">' if page in _STYLED else ""
    return _FRAME.format(
        root=root,
        files=files,
        style=style,
        page=escape(page),
        title=escape(title),
        nav=nav if page != "login" else "",
        leave=" data-leave" if can_leave else "",
        inside=inside,
        version=__version__,
        data=page_html.embedded(facts),
    )


_SEARCH = "Names and content  ( / )"
# The menus of filters, and figures of a usual width.
_MENUS = ("State", "Tag", "Model", "Agent", "Tool", "User", "When", "More")
_USUAL = {
    "Sessions": "1,000",
    "Success": "93%|of 140; 15 Indeterminate",
    "Cost": "$10.00",
    "Tokens": "1.0M",
    "LLM calls": "1000",
    "Errors": "100",
}
_NOTHING = '<p class="empty" id="empty">No sessions yet: record one with <code>localops demo</code>.</p>\n'


# Those of a period, which are compared with the one before.
_TREND = {name: f"{value}|▲ 100%" for name, value in _USUAL.items()} | {"▲▼": "|compared with the 24 hours before"}
# Parameters that choose sessions or calls.
_CHOOSING = {name for each in ENDPOINTS if each.path in ("/api/1/sessions", "/api/1/calls") for name in each.query}
_CHOOSING -= {"sort", "order", "before", "after", "limit"}


def _chosen(call: Call) -> list[tuple[str, str]]:
    """Return the filters in an address."""
    return [(name, value) for name, value in call.request.query_params.multi_items() if value and name in _CHOOSING]


def _session_list(facts: Facts, root: str, chosen: list[tuple[str, str]]) -> str:
    listed: Any = facts["sessions"]
    names = {name for name, _ in chosen}
    table = page_html.session_table(listed, lambda id: f"{root}/s/{id}", picks=True, searched="text" in names)
    nothing = "" if listed else _NOTHING
    summary = early_html.figures(_TREND if "since" in names else _USUAL)
    return f"""<div class="list-head"><h1 class="page-title">Sessions</h1><dl id="summary">{summary}</dl></div>
{early_html.filters("Filter sessions", _SEARCH, (*_MENUS, "Sort", "Views", "Display"), chosen=chosen)}
{table}
{nothing}<div id="more"></div>"""


def _conversation(name: str, facts: Facts, root: str) -> str:
    listed: Any = facts["sessions"]
    table = page_html.session_table(listed, lambda id: f"{root}/s/{id}", picks=False)
    names = ("cost_nano", "unpriced", "llm_calls", "cost_at_least")
    cost = page_html.money({name: sum(one[name] for one in listed) for name in names})
    sums = [output.counted(len(listed), "session"), cost]
    body = table if listed else '<p class="empty">No session of this conversation was recorded here.</p>'
    return f"""<div class="list-head"><h1 class="page-title">Conversation {escape(name)}</h1>
<span class="faint">{" · ".join(sums)}</span></div>
<section id="talk" aria-label="Chat">{body}</section>"""


# Notes below two figures that are easily confused.
_NOTES = {
    "Errors": "<small>raised or recorded</small>",
    "Failed": "<small>calls and operations</small>",
}
# Figures that the script asks for.
_SPEEDS = ("LLM call, median", "First token, median", "Tokens a second", "Input from cache", "Tool call, median")


def _across(facts: Facts, chosen: list[tuple[str, str]]) -> str:
    one: Any = facts
    labels = {
        "Sessions": output.count(one["sessions"]),
        "Success": _success(one["success_rate"]),
        "Cost": page_html.money(one),
        "LLM calls": output.count(one["llm_calls"]),
        "Tool calls": output.count(one["tool_calls"]),
        "Errors": output.count(one["errors"]),
        "Failed": output.count(one["failed"]),
        "Tokens in": output.count(one["tokens_in"]),
        "Tokens out": output.count(one["tokens_out"]),
    }
    return f"""<h1 class="page-title">Analytics</h1>
{early_html.filters("Choose sessions", _SEARCH, (*_MENUS, "Views"), chosen=chosen, role="form")}
<dl class="figures" id="figures">{_figures(labels, {**_NOTES, "Success": _neither_note(one["states"])})}</dl>
<dl class="figures" id="speeds">{_figures(dict.fromkeys(_SPEEDS, "…"), {})}</dl>
<div class="charts" id="charts"></div>
<div class="charts" id="tables"></div>"""


def _success(rate: float | None) -> str:
    """Return a share as the script writes it."""
    return "–" if rate is None else output.percent(rate)


def _neither_note(states: dict[str, int]) -> str:
    """Return of how many sessions the share is, and how many ended as neither Success nor Failure, as a note."""
    ended = states.get("Success", 0) + states.get("Failure", 0)
    of = f"of {output.count(ended)}; " if ended else ""
    return f"<small>{of}{words}</small>" if (words := neither(states)) else ""


def _figures(labels: dict[str, str], notes: dict[str, str]) -> str:
    return "".join(
        f"<div><dt>{name}</dt><dd>{escape(value)}{notes.get(name, '')}</dd></div>" for name, value in labels.items()
    )


def _compare(sides: dict[str, str | None]) -> str:
    missing = "" if all(sides.values()) else '<p class="empty">Choose two sessions in the list, then compare them.</p>'
    return f'<h1 class="page-title">Compare</h1>\n<div id="compare">{missing}</div>'
