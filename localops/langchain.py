"""Callback handlers for LangChain, under AgentOps' names: each run of a chain, model or tool is an operation.

    from localops.langchain import LangchainCallbackHandler

    chain.invoke(question, config={"callbacks": [LangchainCallbackHandler()]})

With `pip install 'localops[langchain]'` runs record themselves after `localops.init()`, and no handler is needed; if
one is used anyway, nothing is recorded twice.
"""

from __future__ import annotations

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler

from localops import api
from localops.errors import LimitReached
from localops.instrument import langchain_runs
from localops.interruption import deliver, hold_if_programs, waiting
from localops.output import say_once
from localops.recording import context, events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any
    from uuid import UUID

    from localops.recording.context import Scope
    from localops.recording.operation import Operation
    from localops.recording.session import Session

_open: dict[UUID, tuple[Operation, Scope]] = {}
"""The runs that are open, by LangChain's id of each: the operation of each, and what it has begun in."""

_ROLES = {"human": "user", "ai": "assistant"}
_HIDDEN_TAGS = ("seq:", "langsmith:hidden")  # LangChain's own marks for the steps of a chain


class _Runs:
    """The open runs, by LangChain's id of each; both handlers use it."""

    def __init__(self, tags: Iterable[str] | str | None, auto_session: bool) -> None:
        self._tags = tags
        self._auto_session = auto_session
        self._session: Session | None = None
        api.client()  # switches instrumentation on: a run that is under way by then would be recorded in part
        context.runs[:] = [_inner]
        langchain_runs.follow()
        if _answered_by_cache not in langchain_runs.from_cache:
            langchain_runs.from_cache.append(_answered_by_cache)

    def start(
        self, kind: str, name: str, run_id: UUID, parent_run_id: UUID | None, tags: object, **options: Any
    ) -> None:
        """Open the operation of a run, unless another handler has."""
        session = self.session()
        if session is None or run_id in _open:
            return
        parent = _open[parent_run_id][0] if parent_run_id in _open else None
        own = [tag for tag in tags if not str(tag).startswith(_HIDDEN_TAGS)] if isinstance(tags, list) else []
        options = {key: value for key, value in options.items() if value is not None}
        operation = session.operation(name, kind, parent=parent, tags=own or None, **options).open()
        _open[run_id] = operation, context.scope.get()

    def end(self, run_id: UUID, value: object) -> None:
        """Close the operation of a run with its result."""
        operation, _ = _open.pop(run_id, (None, None))
        if operation is not None:
            if value is not None:
                operation.returns(value)
            operation.close()

    def fail(self, run_id: UUID, error: BaseException) -> None:
        """Close the operation of a run that raised."""
        operation, _ = _open.pop(run_id, (None, None))
        if operation is not None:
            # A loop over a stream that was left is no error.
            operation.close(None if isinstance(error, GeneratorExit) else error)

    def token(self, run_id: UUID) -> None:
        """Note that a streamed answer has begun."""
        if run_id in _open:
            _open[run_id][0].first_token()

    def session(self) -> Session | None:
        """Return the session to record into, started if there is none; None where runs record themselves."""
        from localops.instrument import is_recorded

        running = api.client()
        if self._auto_session and running.current() is None and not running.open_sessions():
            api.in_turn(lambda: running.current() or running.open_sessions() or running.start(self._tags))
        if is_recorded("langchain_core"):
            say_once("langchain twice", "LangChain's runs record themselves: the callback handler has nothing to do")
            return None
        return running.place("a run of LangChain is not recorded in a session of yours")


def _inner(place: Scope) -> Scope:
    """Return the inner of a place and the run around the calling code, unless the code has entered another since."""
    for run in langchain_runs.around():
        if run in _open:
            operation, outside = _open[run]
            return operation.place if place[0] is None or place == outside else place
    return place


def _answered_by_cache(run: UUID) -> None:
    if run in _open:
        _open[run][0].from_cache()


def _name(serialized: object, given: object, otherwise: str) -> str:
    """Return the name of a run: LangChain's, else that of its class."""
    if isinstance(given, str) and given:
        return given
    if isinstance(serialized, dict):
        path = serialized.get("id")
        named = serialized.get("name") or (path[-1] if isinstance(path, list) and path else None)
        if named:
            return str(named)
    return otherwise


def _message(message: Any) -> dict[str, Any]:
    """Return a message of LangChain as a plain one."""
    kind = getattr(message, "type", "user")
    plain = {"role": _ROLES.get(kind, kind), "content": getattr(message, "content", message)}
    for key in ("name", "tool_calls", "tool_call_id"):
        if value := getattr(message, key, None):
            plain[key] = value
    return plain


def _request(options: dict[str, Any], name: str) -> dict[str, Any]:
    """Return model, provider and parameters of a model's run, from the options that LangChain passes."""
    params = dict(options.get("invocation_params") or {})
    metadata = options.get("metadata") or {}
    model = params.pop("model", None) or params.pop("model_name", None) or metadata.get("ls_model_name")
    tools = params.pop("tools", None) or params.pop("functions", None)
    provider = metadata.get("ls_provider")
    return {
        "model": events.describe(model) if model is not None else None,
        # For a class that LangChain does not know, this is the name of the class, which is not a provider.
        "provider": provider if provider != name.lower() else None,
        "tool_definitions": tools,
        "params": {key: value for key, value in params.items() if not key.startswith("_")} or None,
    }


def _edge(method: Callable[..., None]) -> Callable[..., None]:
    """Return a callback that raises nothing but LimitReached, and what the program raises from outside.

    LangChain would log other errors, or stop.
    """

    def call(self: Any, *args: Any, **options: Any) -> None:
        try:
            method(self, *args, **options)
        except LimitReached:
            raise
        except BaseException as error:  # the edge: recording never breaks the program that is recorded
            if not hold_if_programs(error):
                what = f"{events.class_name(error)}: {events.describe(error)}"
                say_once("langchain", f"a run of LangChain was not recorded: {what}")
        if waiting:
            deliver()

    call.__name__ = method.__name__
    call.__doc__ = method.__doc__
    return call


class _Callbacks:
    """The callbacks, shared by both handlers."""

    raise_error = True  # LimitReached has to reach the program; nothing else is raised
    _runs: _Runs

    @_edge
    def _chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **more: Any) -> None:
        kind = "workflow" if more.get("parent_run_id") is None else "operation"
        name = _name(serialized, more.get("name"), "chain")
        self._runs.start(kind, name, run_id, more.get("parent_run_id"), more.get("tags"), params=inputs)

    @_edge
    def _model_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **more: Any) -> None:
        prompt = prompts[0] if isinstance(prompts, list) and len(prompts) == 1 else prompts
        if isinstance(prompt, list):
            prompt = [_message(message) for message in prompt]
        name = _name(serialized, more.get("name"), "model")
        self._runs.start(
            "llm", name, run_id, more.get("parent_run_id"), more.get("tags"), prompt=prompt, **_request(more, name)
        )

    @_edge
    def _tool_start(self, serialized: Any, input_str: Any, *, run_id: UUID, **more: Any) -> None:
        given = more.get("inputs") if more.get("inputs") is not None else input_str
        name = _name(serialized, more.get("name"), "tool")
        self._runs.start("tool", name, run_id, more.get("parent_run_id"), more.get("tags"), params=given)

    @_edge
    def _retriever_start(self, serialized: Any, query: Any, *, run_id: UUID, **more: Any) -> None:
        name = _name(serialized, more.get("name"), "retriever")
        self._runs.start("tool", name, run_id, more.get("parent_run_id"), more.get("tags"), params={"query": query})

    @_edge
    def _end(self, value: Any, *, run_id: UUID, **_: Any) -> None:
        self._runs.end(run_id, value)

    @_edge
    def _error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._runs.fail(run_id, error)

    @_edge
    def _token(self, token: str = "", *, run_id: UUID, **_: Any) -> None:  # noqa: ARG002
        self._runs.token(run_id)


class LangchainCallbackHandler(_Callbacks, BaseCallbackHandler):
    """Record the runs of LangChain that it is passed to; with `auto_session` it starts a session if there is none.

    `api_key` chooses the project, as for `localops.init`.  The other options are accepted because AgentOps has them.
    """

    def __init__(
        self,
        api_key: str | None = None,
        endpoint: str | None = None,  # noqa: ARG002
        max_wait_time: int | None = None,  # noqa: ARG002
        max_queue_size: int | None = None,  # noqa: ARG002
        default_tags: Iterable[str] | str | None = None,
        *,
        tags: Iterable[str] | str | None = None,
        auto_session: bool = True,
    ) -> None:
        if api_key is not None:
            api.configure(api_key=api_key)
        self._runs = _Runs(tags if tags is not None else default_tags, auto_session)

    @property
    def session(self) -> Session | None:
        """Return the session that it records into at the moment."""
        return api.client().current()

    on_chain_start = _Callbacks._chain_start
    on_chat_model_start = on_llm_start = _Callbacks._model_start
    on_tool_start = _Callbacks._tool_start
    on_retriever_start = _Callbacks._retriever_start
    on_chain_end = on_llm_end = on_tool_end = on_retriever_end = _Callbacks._end
    on_chain_error = on_llm_error = on_tool_error = on_retriever_error = _Callbacks._error
    on_llm_new_token = _Callbacks._token


def _awaited(method: Callable[..., None]) -> Callable[..., Any]:
    async def call(self: Any, *args: Any, **options: Any) -> None:
        method(self, *args, **options)

    return call


class AsyncLangchainCallbackHandler(_Callbacks, AsyncCallbackHandler):
    """The same handler, for chains that are awaited."""

    __init__ = LangchainCallbackHandler.__init__
    session = LangchainCallbackHandler.session

    on_chain_start = _awaited(_Callbacks._chain_start)
    on_chat_model_start = on_llm_start = _awaited(_Callbacks._model_start)
    on_tool_start = _awaited(_Callbacks._tool_start)
    on_retriever_start = _awaited(_Callbacks._retriever_start)
    on_chain_end = on_llm_end = on_tool_end = on_retriever_end = _awaited(_Callbacks._end)
    on_chain_error = on_llm_error = on_tool_error = on_retriever_error = _awaited(_Callbacks._error)
    on_llm_new_token = _awaited(_Callbacks._token)


__all__ = ["AsyncLangchainCallbackHandler", "LangchainCallbackHandler"]
