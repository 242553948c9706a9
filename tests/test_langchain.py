"""The callback handlers for LangChain, driven by LangChain itself and its own fake models."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import signal
import threading
import uuid
from typing import Any

import pytest

import localops
from localops import BudgetExceeded, Session

from . import programs


class _Parts:
    """The names of `tests.langchain_parts`, which is loaded for the first of them.

    pytest asks whatever it collects for names of its own, with an underscore, and each process collects this file.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(importlib.import_module("tests.langchain_parts"), name)


parts = _Parts()


@pytest.fixture
def session() -> Session:
    """A session in which nothing records itself."""
    localops.init(auto_start_session=False, instrument_llm_calls=False)
    return localops.start_session()


def _by_name(session: Session) -> dict[str, dict[str, Any]]:
    return {event["name"]: event for event in session.events}


def test_a_chain_is_a_workflow_with_its_steps(session: Session) -> None:
    """The chain, the prompt and the model hang together, and the model's run is an LLM call with its figures."""
    parts.chain().invoke({"question": "how high?"}, config={"callbacks": [parts.LangchainCallbackHandler()]})
    events = _by_name(session)
    chain, model = events["RunnableSequence"], events["FakeMessagesListChatModel"]
    assert (chain["kind"], chain["parent"], chain["params"]) == ("workflow", None, {"question": "how high?"})
    assert (model["kind"], model["parent"]) == ("llm", chain["id"])
    assert model["prompt"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "how high?"}]
    assert (model["model"], model["tokens_in"], model["tokens_out"]) == ("gpt-4o", 12, 3)
    assert events["ChatPromptTemplate"]["parent"] == chain["id"]


def test_an_awaited_chain_is_recorded_too(session: Session) -> None:
    """The other handler does the same, and parallel runs do not mix."""

    async def main() -> None:
        config = {"callbacks": [parts.AsyncLangchainCallbackHandler()]}
        runs = [parts.chain().ainvoke({"question": f"question {n}"}, config=config) for n in range(5)]
        await asyncio.gather(*runs)

    asyncio.run(main())
    events = list(session.events)
    questions = {event["id"]: event["params"]["question"] for event in events if event["kind"] == "workflow"}
    asked = {event["parent"]: event["prompt"][1]["content"] for event in events if event["kind"] == "llm"}
    assert len(asked) == 5
    assert asked == questions


def test_tools_and_failures_are_recorded_where_they_happen(session: Session) -> None:
    """A tool's run has its arguments and its answer; one that raises fails with what it is called in, once."""
    handler = parts.LangchainCallbackHandler()
    parts.tides.invoke({"port": "Brest"}, config={"callbacks": [handler]})
    failing = parts.RunnableLambda(lambda _: parts.tides.invoke({"port": ""}), name="failing")
    with pytest.raises(ValueError, match="which port"):
        failing.invoke("x", config={"callbacks": [handler]})
    first, second = [event for event in session.events if event["name"] == "tides"]
    assert (first["params"], first["failed"]) == ({"port": "Brest"}, False)
    assert second["failed"]
    events = _by_name(session)
    assert events["failing"]["failed"]
    assert events["ValueError"]["trigger"]["name"] == "tides"
    assert session.get_analytics()["Errors"] == 1


def test_a_session_is_started_if_there_is_no_other() -> None:
    """As AgentOps' handler does, with its tags; not with `auto_session=False`."""
    localops.init(auto_start_session=False, instrument_llm_calls=False)
    handler = parts.LangchainCallbackHandler(tags=["nightly"])
    parts.chain().invoke({"question": "how high?"}, config={"callbacks": [handler]})
    assert handler.session is not None
    assert handler.session.tags == ["nightly"]
    assert handler.session.get_analytics()["LLM calls"] == 1


def test_a_budget_stops_the_chain() -> None:
    """The exception is raised into the program, not logged by LangChain."""
    localops.init(auto_start_session=False, instrument_llm_calls=False, budget_usd=0.000001)
    with localops.start_session(), pytest.raises(BudgetExceeded):
        parts.chain().invoke({"question": "how high?"}, config={"callbacks": [parts.LangchainCallbackHandler()]})


@pytest.mark.parametrize(
    "module", ["agentops", "agentops.integration.callbacks.langchain", "agentops.partners.langchain_callback_handler"]
)
def test_agentops_programs_find_the_handlers(module: str) -> None:
    """Under the names of both generations, without LangChain being imported before they are asked for."""
    done = programs.run(
        f"import sys, localops.agentops; localops.agentops.answer()\nimport {module} as module\n"
        "assert 'langchain_core' not in sys.modules\n"
        "print(module.LangchainCallbackHandler.__name__, module.AsyncLangchainCallbackHandler.__name__)"
    )
    assert (done.stdout, done.stderr) == ("LangchainCallbackHandler AsyncLangchainCallbackHandler\n", "")


def test_what_happens_in_a_run_belongs_to_it(session: Session) -> None:
    """Awaited or not, with one handler or two; what runs beside a stream of a model does not."""
    handlers = {"callbacks": [parts.LangchainCallbackHandler(), parts.LangchainCallbackHandler()]}

    def step(value: object) -> object:
        localops.record(localops.ActionEvent(action_type="noted"))
        with session.operation("inner"):
            localops.record(localops.ActionEvent(action_type="deeper"))
        return value

    async def later() -> None:
        await chain.ainvoke({"question": "b"}, config={"callbacks": [parts.AsyncLangchainCallbackHandler()]})

    chain = parts.RunnableLambda(step, name="step") | parts.chain()
    chain.invoke({"question": "a"}, config=handlers)
    asyncio.run(later())
    events = {event["id"]: event for event in session.events}
    parents = [(event["name"], events[event["parent"]]["name"]) for event in events.values() if event["parent"]]
    assert parents.count(("noted", "step")) == 2
    assert parents.count(("deeper", "inner")) == parents.count(("inner", "step")) == 2
    assert session.get_analytics()["LLM calls"] == 2


def test_a_call_in_a_models_run_is_that_run(session: Session) -> None:
    """A client that records its call inside of the run is seen as the same call, awaited or streamed as well."""
    model = parts.SelfRecording(responses=[parts.ANSWER])
    model.invoke("hello", config={"callbacks": [parts.LangchainCallbackHandler()]})
    asyncio.run(model.ainvoke("hello", config={"callbacks": [parts.AsyncLangchainCallbackHandler()]}))
    for _ in model.stream("hello", config={"callbacks": [parts.LangchainCallbackHandler()]}):
        localops.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=7, completion_tokens=7))
    assert session.get_analytics()["LLM calls"] == 4
    assert [event["kind"] for event in session.events].count("llm_copy") == 3


def test_one_handler_serves_several_threads(session: Session) -> None:
    """Each thread's steps are in its own chain, though the chains run at the same time."""
    handler, together = parts.LangchainCallbackHandler(), threading.Barrier(2, timeout=60)

    def step(value: object) -> object:
        together.wait()
        return value

    def chain(name: str) -> None:
        chain = parts.RunnableLambda(step, name=f"step {name}") | parts.chain()
        chain.invoke({"question": name}, config={"callbacks": [handler], "run_name": name})

    threads = [threading.Thread(target=chain, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    by_name = _by_name(session)
    for name in ("one", "two"):
        assert by_name[f"step {name}"]["parent"] == by_name[name]["id"]
    calls = [event for event in session.events if event["kind"] == "llm"]
    assert {call["parent"] for call in calls} == {by_name["one"]["id"], by_name["two"]["id"]}


def test_a_run_may_end_in_a_thread_with_no_context(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    """As with an executor that calls back from a thread of its own."""
    handler, run = parts.LangchainCallbackHandler(), uuid.uuid4()
    handler.on_chat_model_start({"name": "model"}, [[]], run_id=run)
    other = threading.Thread(target=contextvars.Context().run, args=(parts.end, handler, run))
    other.start()
    other.join()
    (call,) = session.events
    assert (call["kind"], call["finished"], call["tokens_in"], call["failed"]) == ("llm", True, 12, False)
    assert capsys.readouterr().err == ""


def test_an_answer_of_the_cache_is_no_call(session: Session) -> None:
    """It is kept, marked, and costs nothing."""
    model = parts.FakeMessagesListChatModel(responses=[parts.ANSWER], cache=parts.InMemoryCache())
    for _ in range(2):
        model.invoke("hello", config={"callbacks": [parts.LangchainCallbackHandler()]})
    assert session.get_analytics()["LLM calls"] == 1
    first, second = session.events
    assert (second["kind"], second["from_cache"], second["cost"]) == ("llm_copy", True, 0)
    assert second["prompt"] == first["prompt"]


class _Refusal(BaseException):
    """An exception that a value of a program may raise."""


class _Hostile:
    def __init__(self, *raises: type[BaseException]) -> None:
        self._raises = raises

    def __str__(self) -> str:
        raise self._raises[0](*map(_Hostile, self._raises[1:]))


@pytest.mark.parametrize("kinds", [(ValueError,), (_Refusal,), (KeyboardInterrupt,), (_Refusal, _Refusal)])
def test_what_a_value_raises_does_not_reach_the_program(
    session: Session, kinds: tuple[type[BaseException], ...]
) -> None:
    """Whatever it is, and even if it cannot be shown; the run that follows is recorded."""
    handler = parts.LangchainCallbackHandler()
    handler.on_chain_start({"name": _Hostile(*kinds)}, {}, run_id=uuid.uuid4())
    run = uuid.uuid4()
    handler.on_chain_start({"name": "good"}, {}, run_id=run)
    handler.on_chain_end({}, run_id=run)
    assert [event["name"] for event in session.events] == ["good"]


class _Interrupting:
    def __init__(self, number: int) -> None:
        self._number = number

    def __str__(self) -> str:
        signal.raise_signal(self._number)
        return "name"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, TimeoutError, _Refusal])
def test_what_a_signal_handler_raises_in_a_callback_arrives(session: Session, kind: type[BaseException]) -> None:
    """It is the program's own: Ctrl-C, an exit, an alarm."""
    run = uuid.uuid4()

    def handler(number: int, frame: object) -> None:
        raise kind("late")

    for number, how in ((signal.SIGUSR1, handler), (signal.SIGINT, signal.default_int_handler)):
        before = signal.signal(number, how)
        try:
            with pytest.raises(kind if how is handler else KeyboardInterrupt):
                parts.LangchainCallbackHandler().on_chain_start({"name": _Interrupting(number)}, {}, run_id=run)
        finally:
            signal.signal(number, before)
