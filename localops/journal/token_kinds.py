"""The kinds of tokens that are counted for an LLM call: one table for recording, totals, prices and spans.

ARCHITECTURE.md lists the other places to change for a new kind.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    # For type checkers: the columns below.

    class OfRow:
        """The counts of a row that are sent with it."""

        tokens_in: int | None
        tokens_out: int | None
        tokens_cached: int | None
        tokens_reasoning: int | None

    class OfCall(OfRow):
        """All counts of a call."""

        tokens_cache_write: int | None

    class Summed:
        """The sums of counts."""

        tokens_in: int
        tokens_out: int
        tokens_cached: int
        tokens_reasoning: int
        tokens_cache_write: int


class TokenKind:
    """A kind of tokens.

    `field` is the argument of `LLMEvent` and the key in the body of a row.  `column` is the column of the journal: of
    the row itself; or, if `since` is the number of a schema, a copy of the count in the body, which is neither sent nor
    part of the checksum.  `label` and `meaning` are for people.  `within` names the parts of a price that include these
    tokens, and `price` is the part at whose rate they are charged.

    The other arguments are names of attributes in spans.  `genai` are those of the GenAI conventions, and `also` names
    of other vocabularies that are sent beside them; `openinference` those of OpenInference; `for_agentops` those that
    AgentOps' cloud reads.  The names in `genai_before` and `traceloop` are read, but not sent.
    """

    __slots__ = (
        "also",
        "column",
        "field",
        "for_agentops",
        "genai",
        "genai_before",
        "is_argument",
        "label",
        "meaning",
        "openinference",
        "price",
        "since",
        "traceloop",
        "within",
    )

    def __init__(
        self,
        field: str,
        column: str | None = None,
        label: str = "",
        meaning: str = "",
        *,
        since: int = 0,
        is_argument: bool = True,
        within: tuple[str, ...] = (),
        price: str | None = None,
        genai: tuple[str, ...] = (),
        genai_before: tuple[str, ...] = (),
        also: tuple[str, ...] = (),
        openinference: tuple[str, ...] = (),
        traceloop: tuple[str, ...] = (),
        for_agentops: tuple[str, ...] = (),
    ) -> None:
        self.field, self.column, self.label, self.meaning = field, column, label, meaning
        self.since = since
        self.is_argument = is_argument  # of `LLMEvent`; other kinds are only read from responses
        self.within, self.price = within, price
        self.genai, self.genai_before, self.also = genai, genai_before, also
        self.openinference, self.traceloop, self.for_agentops = openinference, traceloop, for_agentops

    @property
    def is_of_row(self) -> bool:
        """Return whether it is a column of the row that is sent; otherwise it is in the body."""
        return self.column is not None and not self.since

    @property
    def figure(self) -> str:
        """Return the name of the count from which spans are written: the column of the row, else the field."""
        return self.column if self.column and not self.since else self.field


KINDS = (
    TokenKind(
        "prompt_tokens",
        "tokens_in",
        "in",
        "prompt tokens, cached ones included",
        price="input",
        genai=("gen_ai.usage.input_tokens",),
        genai_before=("gen_ai.usage.prompt_tokens",),  # until 1.26
        openinference=("llm.token_count.prompt",),
        traceloop=("llm.usage.prompt_tokens",),
        for_agentops=("gen_ai.usage.prompt_tokens",),
    ),
    TokenKind(
        "completion_tokens",
        "tokens_out",
        "out",
        "completion tokens, reasoning included",
        price="output",
        genai=("gen_ai.usage.output_tokens",),
        genai_before=("gen_ai.usage.completion_tokens",),  # until 1.26
        openinference=("llm.token_count.completion",),
        traceloop=("llm.usage.completion_tokens",),
        for_agentops=("gen_ai.usage.completion_tokens",),
    ),
    TokenKind(
        "cached_tokens",
        "tokens_cached",
        "cached",
        "prompt tokens that came from a cache",
        within=("input",),
        price="cached",
        genai=("gen_ai.usage.cache_read.input_tokens",),
        openinference=("llm.token_count.prompt_details.cache_read",),
        traceloop=("gen_ai.usage.cache_read_input_tokens", "llm.usage.cache_read_input_tokens"),
        for_agentops=("gen_ai.usage.cache_read_input_tokens",),
    ),
    TokenKind(
        "cache_write_tokens",
        "tokens_cache_write",
        "to cache",
        "prompt tokens that were written to a cache",
        since=6,
        within=("input",),
        price="cache_write",
        # The second name is the one until 1.41: readers do not know the newer one yet.
        genai=("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
        also=("llm.token_count.prompt_details.cache_write",),
        openinference=("llm.token_count.prompt_details.cache_write",),
        traceloop=("gen_ai.usage.cache_creation_input_tokens", "llm.usage.cache_creation_input_tokens"),
        for_agentops=("gen_ai.usage.cache_creation_input_tokens",),
    ),
    TokenKind(
        "reasoning_tokens",
        "tokens_reasoning",
        "reasoning",
        "completion tokens spent on reasoning",
        within=("output",),
        genai=("gen_ai.usage.reasoning.output_tokens",),
        # Phoenix reads these under its own names only.
        also=("llm.token_count.completion_details.reasoning",),
        openinference=("llm.token_count.completion_details.reasoning",),
        traceloop=("gen_ai.usage.reasoning_tokens", "llm.usage.reasoning_tokens"),
        for_agentops=("gen_ai.usage.reasoning_tokens",),
    ),
    TokenKind("cache_write_1h_tokens", is_argument=False, within=("cache_write",), price="cache_write_1h"),
    TokenKind(
        "input_audio_tokens",
        within=("input",),
        price="input_audio",
        genai=("gen_ai.usage.audio.input_tokens",),
        openinference=("llm.token_count.prompt_details.audio",),
    ),
    TokenKind(
        "output_audio_tokens",
        within=("output",),
        price="output_audio",
        genai=("gen_ai.usage.audio.output_tokens",),
        openinference=("llm.token_count.completion_details.audio",),
    ),
    TokenKind("cached_audio_tokens", is_argument=False, within=("cached", "input_audio"), price="cached_audio"),
)

OF_ROW = tuple(kind for kind in KINDS if kind.is_of_row)
IN_BODY = tuple(kind for kind in KINDS if not kind.is_of_row)
COPIED = tuple(kind for kind in IN_BODY if kind.column)  # with a column that is filled from the body
WITH_COLUMN = (*OF_ROW, *COPIED)
ARGUMENTS = tuple(kind.field for kind in KINDS if kind.is_argument)


def columns(kinds: tuple[TokenKind, ...]) -> tuple[str, ...]:
    """Return the columns of these kinds, without kinds that have none."""
    return tuple(kind.column for kind in kinds if kind.column)


def read_from(*vocabularies: str) -> dict[str, str]:
    """Return a dict from the names of span attributes to fields; `vocabularies` are attributes of `TokenKind`.

    Prompt tokens are returned as `input_tokens`, as some providers do not include those from a cache.
    """
    return {
        name: "input_tokens" if kind.field == "prompt_tokens" else kind.field
        for kind in KINDS
        for vocabulary in vocabularies
        for name in getattr(kind, vocabulary)
    }


def sent_as(vocabulary: str) -> dict[str, tuple[str, ...]]:
    """Return for each figure the names of the span attributes in a vocabulary."""
    named = {kind.figure: getattr(kind, vocabulary) for kind in KINDS}
    return {figure: names for figure, names in named.items() if names}
