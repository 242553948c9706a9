"""What the alarm of a session stores, and that it raises in time."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from itertools import count
from random import Random
from typing import Any

import pytest

import localops
from localops import ErrorEvent, Loop, LoopDetected, Session, ToolEvent
from localops.encoding import encode
from localops.journal import rows
from localops.reading import loops, post_mortem, post_mortem_page
from localops.reading.home import Home
from localops.reading.loops import Call
from localops.reading.sentences import plain
from localops.recording.loop_watch import LoopWatch


@pytest.mark.parametrize("form", ["one row", "two rows", "both"])
def test_a_cycle_of_any_length_is_noticed_in_its_third_round(form: str) -> None:
    """Wherever it begins, though only every second call is looked at, and in whatever order its keys are."""
    heard: list[int] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(len(loop.calls)))
    numbers = count()

    def call(number: int, round: int) -> None:
        params: dict[str, Any] = {"page": number, "of": "the harbour", "more": {"a": [number], "b": None}}
        if round % 2:
            params = {**dict(reversed(params.items())), "more": {"b": None, "a": [number]}}
        if form == "one row" or (form == "both" and next(numbers) % 3):
            session.record(ToolEvent(name="read", params=params, returns="nothing"))
            return
        with session.operation("read", kind="tool", params=params) as operation:
            operation.returns("nothing")

    for period in range(1, loops.LONGEST + 1):
        for before in (1, 2):
            page = 100 * period + 50 * before
            for number in range(before):
                call(page + 40 + number, 0)
            heard.clear()
            for number in range(loops.ALARM * period):
                assert heard == []
                call(page + number % period, number // period)
            assert heard == [loops.ALARM * period]


def test_what_is_recorded_beside_the_arguments_is_no_part_of_them() -> None:
    """Also where it is as long each time, and where there is no result."""
    heard: list[str] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(str(loop)))
    for number in range(10, 13):
        session.record(ToolEvent(name="save", params={"page": 1, "of": 2}, logs=f"attempt {number}"))
    assert heard == ["save: returned the same result again, 3 times"]


def test_a_loop_that_was_stopped_has_one_row() -> None:
    """The program caught the exception each time: the row says which loop it was, and no operation is its last."""

    def stop(session: object, loop: object) -> None:
        raise localops.LoopDetected(str(loop))

    session = localops.start_session(config=localops.Config(on_loop=stop))
    refused = 0
    for _ in range(9):
        try:
            with session.operation("look", kind="tool", params={"at": 1}) as operation:
                operation.returns("calm")
        except localops.LoopDetected:
            refused += 1
    session.end_session("Success")
    rows = [event for event in session.events if event["kind"] == "guardrail"]
    assert refused == 7
    assert [(row["name"], row["params"]["loop"], row["params"]["error"]) for row in rows] == [
        ("on_loop", "look: returned the same result again, 3 times", "LoopDetected")
    ]
    with Home() as home:
        project, id = home.find("last")
        facts = post_mortem.of(project.name, project.snapshot(id), project.reader)
    page = [plain(one) for _, sentences in post_mortem_page.sections(facts) for one in sentences]
    [sentence] = [one for one in page if "on_loop" in one]
    assert sentence.startswith("The program's on_loop stopped a loop with LoopDetected at ")
    assert sentence.endswith(" UTC: 'look: returned the same result again, 3 times'.")


# What a hook gets


def repeat(session: Session, times: int) -> None:
    """Make the same call."""
    for _ in range(times):
        session.record(ToolEvent(name="search", params={"q": "tides"}, returns=[]))


def test_the_alarm_comes_once_with_the_third_call() -> None:
    """`on_loop` gets session and loop; what it returns does not matter."""
    heard: list[tuple[Session, Loop]] = []
    session = localops.init(on_loop=lambda *given: heard.append(given))
    repeat(session, 2)
    assert heard == []
    repeat(session, 5)
    [(where, loop)] = heard
    assert where is session
    assert (loop.kind, loop.tools, len(loop.calls), loop.agent_id) == ("repeat", ("search",), 3, None)
    assert str(loop) == "search: returned the same result again, 3 times"


def test_the_text_of_a_cycle_of_one_tool_names_what_it_was_given() -> None:
    """Names alone would not tell its calls apart; where they do, they are enough."""
    alarms: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: alarms.append(loop))
    path = "/srv/data/of/the/harbour/office/tides-of-"
    for _ in range(3):
        for params in ({"path": path + "monday"}, {"path": path + "tuesday"}, {}):
            session.record(ToolEvent(name="read", params=params, returns="nothing"))
    for _ in range(3):
        for tool in ("look", "walk"):
            session.record(ToolEvent(name=tool, params={"at": 1}, returns=0))
    assert [str(loop) for loop in alarms] == [
        (
            "read (…our/office/tides-of-monday), read (…our/office/tides-of-tuesday), read: "
            "returned the same result again, 3 times"
        ),
        "look, walk: returned the same result again, 3 times",
    ]
    assert [loop.inputs[-1] for loop in alarms] == ["", "at=1"]


def test_it_comes_before_the_fourth_call_begins() -> None:
    """A decorated call returns its result; the next operation of whatever kind does not begin."""
    made: list[str] = []

    def stop(_: Session, loop: Loop) -> None:
        raise LoopDetected(str(loop))

    @localops.tool
    def search(query: str) -> str:
        made.append(query)
        return "nothing"

    localops.init(on_loop=stop)
    for _ in range(3):
        search("tides")
    with pytest.raises(LoopDetected, match="search: returned the same result again, 3 times"):
        search("tides")
    assert made == ["tides"] * 3
    # The program may go on.
    assert search("ferries") == "nothing"


def test_a_loop_that_was_stopped_stays_stopped() -> None:
    """Whatever catches the exception, in whatever thread: until another tool is called, the call does not begin."""
    made: list[str] = []
    heard: list[int] = []

    def stop(_: Session, loop: Loop) -> None:
        heard.append(loop.rounds)
        raise LoopDetected(str(loop))

    @localops.tool
    def search(query: str) -> str:
        made.append(query)
        return "nothing"

    def stubborn(times: int, query: str = "tides") -> None:
        for _ in range(times):
            with contextlib.suppress(Exception):
                search(query)

    session = localops.init(on_loop=stop)
    stubborn(6)
    thread = threading.Thread(target=contextvars.copy_context().run, args=(stubborn, 2))
    thread.start()
    thread.join()
    assert (made, heard) == (["tides"] * 3, [3] * 5)
    with session.operation("think"):
        pass
    stubborn(1)
    assert (len(made), len(heard)) == (3, 6)
    search("ferries")
    search("tides")
    assert len(made) == 5


def test_a_loop_that_is_recorded_afterwards_is_stopped_each_time() -> None:
    """Its calls were already made, and count; if the hook lets a loop continue, it is not called for it again."""
    heard: list[int] = []

    def stop(_: Session, loop: Loop) -> None:
        heard.append(loop.rounds)
        if len(heard) < 5:
            raise LoopDetected(str(loop))

    session = localops.init(on_loop=stop)
    for _ in range(5):
        with contextlib.suppress(LoopDetected):
            session.record(ToolEvent(name="search", params={"q": "tides"}, returns=[]))
    for n in range(7):
        with contextlib.suppress(LoopDetected):
            event = ToolEvent(name="save", params={"n": n})
            session.record(ErrorEvent(trigger_event=event, exception=ValueError("full")))
    assert heard == [3, 4, 5, 3, 4]
    assert session.get_analytics()["Tool calls"] == 12


def test_a_call_that_is_recorded_afterwards_ends_what_was_stopped() -> None:
    """So does a call that begins here: the agent has done something else, and may try the first call again."""

    def stop(_: Session, loop: Loop) -> None:
        raise LoopDetected(str(loop))

    @localops.tool
    def search(query: str) -> str:
        return "nothing"

    session = localops.init(on_loop=stop)
    for _ in range(3):
        search("tides")
    for _ in range(2):
        with pytest.raises(LoopDetected):
            search("tides")
    session.record(ToolEvent(name="read", params={"page": 1}, returns="something"))
    assert search("tides") == "nothing"


@pytest.mark.parametrize("in_two", [False, True], ids=["one row", "two rows"])
def test_calls_whose_keys_have_another_order_are_the_same(in_two: bool) -> None:
    """Also among calls of the same length, and where a key is called as the result is."""
    heard: list[str] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(loop.inputs[0]))

    def call(params: dict[str, Any]) -> None:
        if not in_two:
            session.record(ToolEvent(name="find", params=params, returns=[]))
            return
        with session.operation("find", kind="tool", params=params) as operation:
            operation.returns([])

    for n in range(30):
        call({"query": f"tides {10 + n}", "limit": 5})
        call({"limit": 5, "query": f"tides {10 + n}"})
    assert heard == []
    for names in (("query", "limit", "page"), ("limit", "query", "page"), ("page", "limit", "query")):
        call({name: len(name) for name in names})
    for names in (("a", "returns", "b"), ("returns", "a", "b"), ("b", "a", "returns")):
        call({name: len(name) for name in names})
    assert heard == ["query=5 limit=5 page=4", "a=1 returns=7 b=1"]


def test_calls_inside_of_others_do_not_push_out_those_around_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the many tool calls that had calls inside of them, those that have ended are forgotten first."""
    monkeypatch.setattr(loops, "MOST_STREAMS", 4)
    heard: list[tuple[str, ...]] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(loop.tools))
    for n in range(20):
        # The last nine are three rounds of three.
        with session.operation("outer", kind="tool", params={"n": n if n < 11 else n % 3}) as outer:
            session.record(ToolEvent(name="inner", params={"n": n}, returns=n))
            outer.returns("the same")
    assert heard == [("outer",) * 3]


def test_long_arguments_that_are_equally_long() -> None:
    """They are not the same for that, and those that are the same are found among them."""
    heard: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(loop))
    for n in (1, 2, 3, 4, 5, 5):
        session.record(ToolEvent(name="read", params={"text": f"{n:0500}"}, returns="nothing"))
    assert heard == []
    session.record(ToolEvent(name="read", params={"text": f"{5:0500}"}, returns="nothing"))
    assert len(heard) == 1
    for n in (6, 7, 7):
        session.record(ToolEvent(name="read", params={"text": f"{n:0500}"}, returns="nothing"))
    assert len(heard) == 1


@pytest.mark.parametrize("has_succeeded", [False, True])
def test_what_was_called_between_the_same_errors(has_succeeded: bool) -> None:
    """However many calls of other tools: they count together until the tool has succeeded."""
    heard: list[str] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(loop.kind))
    for n in range(3):
        event = ToolEvent(name="save", params={"n": n})
        session.record(ErrorEvent(trigger_event=event, exception=ValueError("full")))
        for other in range(n * 20, n * 20 + 15):
            session.record(ToolEvent(name="read", params={"n": other}, returns=other))
            if has_succeeded and other == 22:
                session.record(ToolEvent(name="save", params={"n": "small"}, returns="saved"))
    assert heard == ([] if has_succeeded else ["error"])


def test_a_cycle_that_was_stopped_and_comes_again_after_other_calls() -> None:
    """It is another one, and nothing is heard of it before its third round has ended."""
    heard: list[int] = []

    def stop(_: Session, loop: Loop) -> None:
        heard.append(loop.rounds)
        raise LoopDetected(str(loop))

    session = localops.init(on_loop=stop)

    def call(numbers: range) -> None:
        for n in numbers:
            with contextlib.suppress(LoopDetected):
                session.record(ToolEvent(name="read", params={"page": n}, returns="nothing"))

    for _ in range(3):
        call(range(loops.LONGEST))
    call(range(100, 120))
    call(range(loops.LONGEST))
    call(range(loops.LONGEST))
    assert heard == [3]
    call(range(loops.LONGEST))
    assert heard == [3, 3]


def test_the_alarm_of_a_failing_call() -> None:
    """The error is recorded first."""
    heard: list[str] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(f"{loop.kind} {len(loop.calls)}"))
    for n in range(4):
        with pytest.raises(ValueError, match="bad draft"), session.operation("save", kind="tool", params={"n": n}):
            raise ValueError("bad draft")
    assert heard == ["error 3"]
    for _ in range(4):
        with pytest.raises(TimeoutError), session.operation("fetch", kind="tool", params={"url": "a"}):
            raise TimeoutError(f"after {len(heard)} s")
    assert heard == ["error 3", "retry 3"]
    assert session.get_analytics()["Errors"] == 8


def test_a_hook_that_fails_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Its error never reaches the program."""

    def hook(_: Session, loop: Loop) -> None:
        raise KeyError("nothing to see")

    session = localops.init(on_loop=hook)
    repeat(session, 3)
    session.record(ToolEvent(name="other", params={"n": 1}, returns=[]))
    repeat(session, 3)
    assert capsys.readouterr().err.count("on_loop failed: KeyError: 'nothing to see'") == 1
    assert session.get_analytics()["Tool calls"] == 7


def test_a_hook_may_end_the_program() -> None:
    """An exit is the program's own."""

    def hook(_: Session, loop: Loop) -> None:
        raise SystemExit(3)

    session = localops.init(on_loop=hook)
    with pytest.raises(SystemExit):
        repeat(session, 3)


def test_without_a_hook_nothing_is_compared() -> None:
    """The recording path then does nothing for it."""
    session = localops.init()
    assert session.recorder.loops is None


def test_the_alarm_is_that_of_the_detector() -> None:
    """Calls that are put aside at first give the same alarms as calls that are all compared at once."""
    many = 0
    for seed in range(60):
        random = Random(seed)
        watch, detector = LoopWatch(["poll"], lambda *_: None), loops.Detector(keep=False)
        numbers = [1, 1, *range(2, 40)] if seed % 4 == 0 else [1, 1, 1, 12, 21]
        texts = ["ab" * 200 + str(number) for number in (12, 21, 13, 22, 31)]
        long: list[str | None] = [None, *(texts if seed % 3 == 0 else [])]
        alarms: list[tuple[str, list[bytes]]] = []
        for number in range(120):
            id, agent = number.to_bytes(16, "big"), random.choice([None, b"a" * 16])
            tool, failed = random.choice(["look", "look", "poll"]), random.random() < 0.2
            items = [
                ("n", random.choice(numbers)),
                ("more", random.choice([None, None, None, {"returns": 1}])),
                ("long", random.choice(long)),
            ]
            params = {name: value for name, value in random.sample(items, 3) if value is not None}
            result = {"returns": random.choice([7, 7, 7, "other"])} if random.random() < 0.9 and not failed else {}
            beside = random.choice([{}, {"logs": f"line {number * 7919}"}])
            error = ("ValueError", random.choice(["bad", "worse"])) if failed else None
            in_two = random.random() < 0.5
            opened = {"params": params, **(beside if in_two else {})}
            ended = {**result} if in_two else {**opened, **result, **beside}
            text = encode.dumps(ended).decode() if ended else None
            row = rows.plain(id, rows.DONE, bytes(16), "tool", tool, None, agent, number, None, text)
            if in_two:
                begun = encode.dumps(opened).decode()
                first = rows.plain(id, rows.OPEN, bytes(16), "tool", tool, None, agent, number, None, begun)
                watch.open[id] = None
                if beside or failed:
                    watch.look(first, row, error=error, failed=failed)
                else:
                    watch.ended(first, row)
            elif result:
                watch.recorded(row)
            else:
                watch.look(row, row, error=error, failed=failed)
            digest = loops.error_digest(*error, (0, 0)) if error else None
            plain = Call(
                id, tool, opened, ended, agent=agent, failed=failed, error=digest, waits=tool == "poll", period=(0, 0)
            )
            loop = detector.add(plain)
            if loop is not None:
                alarms.append((loop.kind, [call.id for call in loop.calls]))
        assert [(loop.kind, [id.bytes for id in loop.calls]) for loop, _ in watch.waiting] == alarms, seed
        many += len(alarms)
    assert many > 20
