"""Everything that a store can be asked, as JSON: two stores that hold the same rows give the same bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from localops import dialects
from localops.errors import LocalopsError
from localops.journal import rows
from localops.reading import analytics
from localops.reading.call_query import CallFilters
from localops.reading.home import Filters
from localops.server.home_store import HomeStore
from localops.server.policy import Rules
from localops.server.proof import Compared
from localops.server.retention import BEGIN
from localops.server.session_index import SORTS
from localops.upkeep.prune import Choice
from tests.clickhouse.programs import PROJECT, T0, Program

_FILTERS = (
    Filters(),
    Filters(state="Failure"),
    Filters(state="Unknown"),
    Filters(tag="nightly"),
    Filters(tag="of an event"),
    Filters(model="gpt-4o"),
    Filters(agent="planner"),
    Filters(tool="search"),
    Filters(user="ann"),
    Filters(since=T0 + 100_000_000_000, until=T0 + 400_000_000_000),
    Filters(errors=True),
    Filters(min_cost=12_345),
    Filters(score=("correct",)),
    Filters(score=("correct@human>0.5",)),
    Filters(text="harbour"),
    Filters(text="lantern gull"),
    Filters(text="run*", model="gpt-4o-mini"),
)
_CHOSEN = (
    analytics.Chosen(),
    analytics.Chosen(tag="nightly"),
    analytics.Chosen(since=T0 + 100_000_000_000, until=T0 + 300_000_000_000),
)
_FORMS = [name for name in dialects.FORMATS if name not in ("sqlite", "html", "parquet")]
_DAY_NS = 86_400_000_000_000


def answers(store: HomeStore, program: Program, *, brief: bool = False) -> dict[str, str]:
    """Return every answer of a store as JSON, by what was asked; `brief`: those that show each row and each figure."""
    asked = dict(_about_all(store, program))
    for session in dict.fromkeys(program.sessions):
        asked |= dict(_about(store, session, program))
    return {
        name: json.dumps(_answer(ask), default=_plain, sort_keys=False)
        for name, ask in asked.items()
        if not brief or _is_brief(name)
    }


def _is_brief(name: str) -> bool:
    begins = ("sums", "rows", "senders", "held ", "all as jsonl", "prove", f"sessions {Filters()}")
    return name.startswith(begins) or name.endswith((" session", " figures", " events {}"))


def _answer(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except LocalopsError as error:
        return [type(error).__name__, str(error)]


def _plain(value: Any) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Choice | Compared):
        return asdict(value)
    raise TypeError(type(value).__name__)


def _about_all(store: HomeStore, program: Program) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "projects", store.projects
    yield "sums", lambda: store.sums(PROJECT)
    yield "rows", lambda: store.stored(PROJECT)[0]
    yield "unsearched", lambda: store.unsearched(PROJECT)
    yield "newest", lambda: store.newest(PROJECT, None)
    yield "damaged", lambda: store.damaged(PROJECT)
    yield "senders", lambda: [_sender(asdict(sender)) for sender in store.senders(PROJECT)]
    for filters in _FILTERS:
        yield f"sessions {filters}", partial(_all_pages, store, filters)
        yield f"facets {filters}", partial(store.facets, PROJECT, None, filters)
    for sort in (*SORTS, "score:correct"):
        for ascending in (True, False):
            bounds: dict[str, Any] = {"sort": sort, "ascending": ascending}
            yield f"sessions {bounds}", partial(_all_pages, store, Filters(), **bounds)
    for chosen in _CHOSEN:
        for by in (None, *analytics.ACROSS):
            yield (
                f"analytics {by} {chosen}",
                partial(store.analytics, PROJECT, by, chosen, limit=50),
            )
        yield f"speeds {chosen}", partial(store.speeds, PROJECT, chosen)
        yield f"daily {chosen}", partial(store.daily, PROJECT, chosen, "Europe/Berlin")
        yield f"averages {chosen}", partial(store.averages, PROJECT, chosen)
        yield f"distributions {chosen}", partial(store.distributions, PROJECT, chosen)
    for sort in ("began", "cost", "seconds", "tokens"):
        order: dict[str, Any] = {"sort": sort, "ascending": False, "after": None, "limit": 40}
        yield f"calls {sort}", partial(store.calls, PROJECT, CallFilters(), Filters(), **order)
    for by in (None, "tool", "model", "prompt", "arguments", "error", "message", "repeat"):
        grouping: dict[str, Any] = {"by": by, "sort": "calls", "limit": 20}
        yield f"groups of calls {by}", partial(store.call_groups, PROJECT, CallFilters(), Filters(), **grouping)
    call_filters = CallFilters(tool=("search",), argument="harbour")
    order = {"sort": "began", "ascending": True, "after": None, "limit": 40}
    yield "calls with harbour", partial(store.calls, PROJECT, call_filters, Filters(tag="nightly"), **order)
    for text, part in (("gull", None), ("harb* gull", None), ("harbour", "prompt"), ("harbour", "result")):
        call_filters = CallFilters(text=text, part=part)
        yield f"calls with {text} in {part}", partial(_searched, store, call_filters, {**order, "limit": 500})
    both = ((PROJECT, Filters(tag="nightly")), (PROJECT, Filters(model="gpt-4o")))
    yield "groups", partial(store.compare_groups, *both)
    yield "summary", partial(store.summary, PROJECT, Filters(), Filters(until=T0 + 300_000_000_000))
    yield "snippets", partial(store.snippets, PROJECT, "gull harbour", program.sessions)
    yield "all as jsonl", partial(_all_written, store, "jsonl")
    for machine in program.machines:
        yield f"held {machine.journal}", partial(store.held, PROJECT, [machine.journal])
    listed = [(row[0], row[1], row[_SUM]) for machine in program.machines for row in machine.rows]
    yield "prove", lambda: store.prove(PROJECT, [*listed, (bytes(16), 0, 1), (*listed[0][:2], 7)])
    rules = Rules(keep_ns=_DAY_NS, unknown=True)
    yield "expired", lambda: store.expired(PROJECT, rules, program.at + 2 * _DAY_NS, BEGIN)
    yield "loop marks", lambda: _loop_marks(store, program.sessions)
    yield "find nothing", lambda: store.find(PROJECT, "ffff")


def _searched(store: HomeStore, call_filters: CallFilters, order: dict[str, Any]) -> object:
    while True:
        page = store.calls(PROJECT, call_filters, Filters(), **order)
        if not page["searching"]:
            return page


_SUM = rows.COLUMNS.index("sum")


_OPTIONS: list[dict[str, Any]] = [{}, {"kind": "llm"}, {"text": "gull"}, {"text": "gull harbour", "kind": "tool"}]


def _about(store: HomeStore, session: bytes, program: Program) -> Iterator[tuple[str, Callable[[], object]]]:
    name = session.hex()
    yield f"{name} find", lambda: store.find(PROJECT, name[:20])
    yield f"{name} session", lambda: store.session(PROJECT, session)
    yield f"{name} why", lambda: store.why(PROJECT, session)
    yield f"{name} loops", lambda: store.loops(PROJECT, session)
    yield f"{name} steps", lambda: store.steps(PROJECT, session, limit=100)
    yield f"{name} stats", lambda: store.stats(PROJECT, session)
    yield f"{name} newest", lambda: store.newest(PROJECT, session)
    yield f"{name} document", lambda: store.document(PROJECT, session, most=10_000)
    yield f"{name} figures", lambda: [*store.figures(PROJECT, [session]).values()]
    for options in _OPTIONS:
        yield f"{name} events {options}", partial(_events, store, session, **options)
    yield f"{name} timeline", lambda: _timeline(store, session)
    yield f"{name} each event", lambda: [store.event(PROJECT, session, seq) for seq in _seqs(store, session)]
    yield f"{name} previews", lambda: store.previews(PROJECT, session, seqs=_seqs(store, session))
    yield f"{name} compare", lambda: store.compare(PROJECT, session, program.sessions[0])
    yield f"{name} compare runs", lambda: store.compare_runs(PROJECT, [session, *program.sessions[:2]])
    other = next(each for each in program.sessions if each != session)
    rules = {"max_errors": "+0", "max_cost": "+10%", "same_tools": True, "same_arguments": True}
    yield f"{name} diff", lambda: store.diff(PROJECT, session, other, limit=100)
    yield f"{name} diff itself", lambda: store.diff(PROJECT, session, session, limit=100)
    yield f"{name} check", lambda: store.check_run(PROJECT, session, other, rules)
    yield f"{name} scores", lambda: store.scores(PROJECT, session)
    for form in _FORMS:
        yield f"{name} {form}", partial(_written, store, session, form)


def _all_pages(store: HomeStore, filters: Filters, **bounds: Any) -> list[object]:
    listed: list[object] = []
    before = None
    # A search for text may stop early, so that a page has fewer sessions than the limit.
    while True:
        page, before = store.sessions(PROJECT, filters, before=before, limit=5, **bounds)
        listed += page
        if before is None:
            return listed


def _events(store: HomeStore, session: bytes, **options: Any) -> list[object]:
    listed: list[object] = []
    after = 0
    while True:
        page = store.events(PROJECT, session, after=after, limit=7, **options)
        if page is None:
            return listed
        listed.append(page)
        if page["next_after"] is None:
            return listed
        after = page["next_after"]


def _seqs(store: HomeStore, session: bytes) -> list[int]:
    pages: list[Any] = _events(store, session)
    return [event["seq"] for page in pages for event in page["events"]]


def _timeline(store: HomeStore, session: bytes) -> list[object]:
    return [store.timeline(PROJECT, session, after=after, limit=9) for after in (0, 30, 500)]


def _written(store: HomeStore, session: bytes, form: str) -> str | None:
    file = io.BytesIO()
    return file.getvalue().hex() if store.write(PROJECT, session, form, file, most=10_000) else None


def _all_written(store: HomeStore, form: str) -> str:
    file = io.BytesIO()
    store.write_all(PROJECT, Filters(), form, file, most=100_000)
    return file.getvalue().hex()


def _loop_marks(store: HomeStore, sessions: list[bytes]) -> object:
    while True:
        marks = store.loop_marks(PROJECT, sessions=sessions)
        # For some there was no time.
        if not marks["missing"]:
            return marks


def _sender(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a sender without the times at which its rows arrived."""
    return {name: value for name, value in facts.items() if name not in ("first_ns", "last_ns")}
