"""Recognise a second record of an LLM call that an instrumentor has already recorded.

The program may record the same call by hand, or another instrumentor may record it too; it must count only once.
"""

from __future__ import annotations

from _thread import get_ident

from localops.recording.usage import known_of, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.recording.events import ErrorEvent, LLMEvent
    from localops.recording.usage import Measures

_SOON_AFTER_NS = 60_000_000_000
_COMPARED = 500  # characters of an answer


class SeenCall:
    """A finished call that an instrumentor recorded."""

    __slots__ = (
        "_end", "_prompts", "_response_id", "_taken_by", "_thread", "_words", "agent", "by", "error", "failed", "id",
        "measures", "start",
    )  # fmt: skip

    def __init__(
        self,
        id: bytes,
        agent: bytes | None,
        call: LLMEvent,
        start: int,
        end: int,
        measures: Measures,
        *,
        by: str,
        error: ErrorEvent | None,
        failed: bool,
    ) -> None:
        self.id, self.agent, self.by, self.failed = id, agent, by, failed
        self.error = (error.error_type, error.details) if error is not None else None
        self._taken_by: dict[None, object] = {}
        self._thread = get_ident()
        self._words = _words(call.completion)
        self.start, self._end, self.measures = start, end, measures
        self._response_id = known_of(call)[0]
        self._prompts = _prompts(call, measures)

    def is_taken_by(self, taker: object) -> bool:
        """Let the first taker have this call, and return whether this is that one; threads may compete."""
        return self._taken_by.setdefault(None, taker) is taker

    def is_duplicate_of_event(self, event: LLMEvent, at: int, known: tuple[object, object, object, object]) -> bool:
        """Return whether an event that is recorded at time `at` is about this call; `known` comes from `known_of`.

        Compare the response ids, if both have one.  Otherwise nothing that both have may differ (model, tokens, text);
        and the event must have been created before the call and recorded after it, as programs for AgentOps do, or
        recorded soon after it with the same tokens or text.
        """
        response_id, its_model, prompt, completion = known
        if response_id is not None and self._response_id is not None:
            return response_id == self._response_id
        words = _words(event.completion)
        has_words = bool(words and self._words)
        if has_words and words not in self._words and self._words not in words:
            return False
        model, tokens_in, tokens_out, *_ = self.measures
        if not _may_be_same_model(its_model, model):
            return False
        if prompt in self._prompts:
            prompt = tokens_in
        pairs = ((prompt, tokens_in), (completion, tokens_out))
        if any(one is not None and other is not None and one != other for one, other in pairs):
            return False
        around = event.began_ns <= self.start and at >= self._end
        if self.failed:
            return around
        same_tokens = all(one is not None and one == other for one, other in pairs)
        return around or ((same_tokens or has_words) and at - self._end <= _SOON_AFTER_NS)

    def is_duplicate_of_call(self, start: int, end: int, call: LLMEvent, measures: Measures, *, failed: bool) -> bool:
        """Return whether another instrumentor's call is the same as this one: by response id, or by time and figures.

        Two calls of the same instrumentor are never the same one: mocks and proxies may repeat a response id.
        """
        response_id = known_of(call)[0]
        if response_id is not None and self._response_id is not None:
            return response_id == self._response_id
        if failed != self.failed or not start <= self.start <= self._end <= end:
            return False
        model, *tokens, _ = measures
        own_model, *own_tokens, _ = self.measures
        if not _may_be_same_model(model, own_model) or tokens[:2] != own_tokens[:2]:
            return False
        return tokens[0] is not None or self._thread == get_ident()


def _prompts(call: LLMEvent, measures: Measures) -> tuple[int, ...]:
    """Return the prompt tokens of a call as a program may count them: with and without the tokens of its cache."""
    _, tokens_in, _, cached, *_ = measures
    if tokens_in is None:
        return ()
    written = whole(call.cache_write_tokens) or 0
    return (tokens_in, tokens_in - (cached or 0) - written, tokens_in - written)


def _words(completion: object) -> str:
    """Return the beginning of a completion's text, if it is a string or a plain message; else an empty string."""
    for _ in range(4):
        if type(completion) is list:
            completion = completion[0] if completion else None
        elif type(completion) is dict:
            completion = completion.get("content", completion.get("text"))
    return completion[:_COMPARED] if type(completion) is str else ""


def _may_be_same_model(one: object, other: object) -> bool:
    """Return whether two names may mean the same model: gateways prepend a provider, responses append a date."""
    if not isinstance(one, str) or not isinstance(other, str):
        return True
    one, other = one.rpartition("/")[2], other.rpartition("/")[2]
    return one.startswith(other) or other.startswith(one)
