"""Recognise why a model stopped before its answer was complete; providers have many words for the reasons."""

from __future__ import annotations

from localops import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Reasons with which the answer or the tool call is complete.
_USUAL = frozenset(
    "stop end end_turn stop_sequence eos eos_token complete completed finished done success "
    "tool_call tool_calls tool_use function_call tool-calls unknown unspecified finish_reason_unspecified".split()
)
_LENGTH = frozenset("length max_tokens max_output_tokens model_length max_length model_context_window_exceeded".split())
_FILTER = frozenset(
    "content_filter content-filter safety prohibited_content blocklist refusal guardrail_intervened".split()
)


def unusual(body: dict[str, Any]) -> str | None:
    """Return the finish reason in the body of an LLM call if its answer is not complete, else None.

    >>> unusual({"finish_reason": "stop"}), unusual({"finish_reason": ["FinishReason.MAX_TOKENS"]})
    (None, 'FinishReason.MAX_TOKENS')
    """
    given = body.get("finish_reason")
    reasons = given if isinstance(given, list) else [given]
    return next((one for one in reasons if isinstance(one, str) and one and _word(one) not in _USUAL), None)


def in_words(reason: str) -> str:
    """Return a finish reason as a phrase; empty if there is no better wording than the reason itself.

    >>> in_words("length")
    'it stopped at its length limit'
    """
    word = _word(reason)
    if word in _LENGTH:
        return "it stopped at its length limit"
    return "a filter or a refusal stopped it" if word in _FILTER else ""


def of_empty(event: dict[str, Any]) -> str:
    """Return why an LLM call has an empty answer, as far as that is recorded.

    >>> of_empty({"finish_reason": "length", "tokens_out": 9, "tokens_reasoning": 9})
    'stopped at its length limit (length); 9 of 9 tokens were reasoning'
    """
    reason = unusual(event)
    known = in_words(reason).removeprefix("it ") if reason else ""
    words = [f"{known} ({reason})" if known else f"stopped for {reason}"] if reason else []
    out, reasoning = event.get("tokens_out"), event.get("tokens_reasoning")
    if out and reasoning:
        words.append(f"{output.count(reasoning)} of {output.counted(out, 'token')} were reasoning")
    return "; ".join(words)


def _word(reason: str) -> str:
    return reason.rpartition(".")[2].lower()
