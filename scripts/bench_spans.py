"""Measures spans of OpenTelemetry that are recorded, for bench.py, beside those that the SDK batches and drops."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

import localops
from localops.journal import rows
from localops.journal.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.bench import Bench, Block


def recorded_spans(bench: Bench) -> None:
    """Measure a recorded span beside one that the SDK passes to a BatchSpanProcessor which drops it."""
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    except ImportError:
        return
    from localops.otel import install
    from scripts.bench import PARAMS, RETURNS, interleave, p, timed

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002
            return SpanExportResult.SUCCESS

    called, came = of_openai(PARAMS, RETURNS)
    batched = TracerProvider()
    batched.add_span_processor(BatchSpanProcessor(Nowhere()))
    with bench.home("spans") as home:
        localops.init()
        ways = {"batched": batched.get_tracer("bench"), "recorded": install(TracerProvider()).get_tracer("bench")}

        def plain(tracer: Any) -> Callable[[], None]:
            def call() -> None:
                with tracer.start_as_current_span("step") as span:
                    span.set_attribute("params", json.dumps(PARAMS))
                    span.set_attribute("returns", json.dumps(RETURNS))

            return call

        def of_model(tracer: Any) -> Callable[[], None]:
            def call() -> None:
                span = tracer.start_span("ChatCompletion", attributes=called)
                span.set_attributes(came)
                span.end()

            return call

        for what, made in (("a span with two attributes", plain), ("the span of a call of a model", of_model)):
            blocks = {name: timed(made(tracer), 100) for name, tracer in ways.items()}
            made(ways["recorded"])()
            blocks["inserts"] = timed(bare_inserts(home / "default", home / f"{made.__name__}.db"), 100)
            timings, ratios = interleave(blocks, bench.rounds, "batched")
            bench.say(
                f"{what} recorded, two rows, against the same through a BatchSpanProcessor that drops it, p50",
                "<= 2",
                f"{ratios['recorded']:.1f} ({p(timings['recorded'], 0.5):.0f} against"
                f" {p(timings['batched'], 0.5):.0f} us)",
            )
            bench.say(
                f"{what}: only two bare inserts by apsw of the same rows, against that processor, p50",
                "to compare",
                f"{ratios['inserts']:.1f} ({p(timings['inserts'], 0.5):.0f} us)",
            )
        _portions(bench, blocks["recorded"], blocks["inserts"], called, came)
    batched.shutdown()


def _portions(bench: Bench, recorded: Block, inserts: Block, called: dict[str, Any], came: dict[str, Any]) -> None:
    """Measure what the recorded span of a call consists of, each part alone."""
    from opentelemetry.sdk.trace import TracerProvider

    from localops.otel.mapping import read
    from localops.recording.events import LLMEvent
    from scripts.bench import interleave, p, timed

    session = localops.init()
    assert session is not None
    writer, numbers = session.recorder.writer, count(1)
    dropped = TracerProvider().get_tracer("bench")
    first = read("ChatCompletion", called)
    last = read("ChatCompletion", came, before=first)
    call = LLMEvent(**last.figures)

    def span() -> None:
        made = dropped.start_span("ChatCompletion", attributes=called)
        made.set_attributes(came)
        made.end()

    def encode() -> None:
        writer.encode({**first.fields, "span_id": f"{next(numbers):016x}"})
        writer.encode(last.fields)

    blocks = {
        "all": recorded,
        "span": timed(span, 100),
        "start": timed(lambda: read("ChatCompletion", called), 100),
        "end": timed(lambda: read("ChatCompletion", came, before=first), 100),
        "encode": timed(encode, 100),
        "price": timed(lambda: writer.call_measures(call, 1, unbilled=False), 100),
        "inserts": inserts,
    }
    timings, _ = interleave(blocks, bench.rounds, "all")
    took = {name: p(values, 0.5) for name, values in timings.items()}
    took["rest"] = 2 * took["all"] - sum(took.values())
    names = ("span", "start", "end", "encode", "price", "inserts", "rest")
    bench.say(
        "of that span recorded, us: OpenTelemetry's SDK, its attributes read when it starts and when it ends, JSON"
        " without secrets, tokens and price, two bare inserts, all else; each alone, with a warm processor",
        "",
        ", ".join(f"{took[name]:.0f}" for name in names),
    )


def of_openai(params: object, returns: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a call as OpenInference's instrumentor of OpenAI traces it: what is there at the start, and what comes."""
    messages = [{"role": "system", "content": "You find tables."}, {"role": "user", "content": json.dumps(params)}]
    called = {
        "openinference.span.kind": "LLM",
        "llm.system": "openai",
        "input.value": json.dumps({"model": "gpt-4o", "messages": messages, "temperature": 0.1}),
        "input.mime_type": "application/json",
    }
    asked = {f"{n}.message.{key}": message[key] for n, message in enumerate(messages) for key in message}
    came = {
        "output.value": json.dumps({"id": "r-1", "choices": [{"message": {"content": json.dumps(returns)}}]}),
        "output.mime_type": "application/json",
        "llm.invocation_parameters": json.dumps({"model": "gpt-4o", "temperature": 0.1}),
        **{f"llm.input_messages.{name}": text for name, text in asked.items()},
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": json.dumps(returns),
        "llm.model_name": "gpt-4o-2024-08-06",
        "llm.token_count.prompt": 120,
        "llm.token_count.completion": 15,
        "llm.token_count.prompt_details.cache_read": 100,
    }
    return called, came


def bare_inserts(project: Path, path: Path) -> Callable[[], None]:
    """Return a loop that writes the last two rows of a journal again and again, into a table like its own."""
    columns = ", ".join(rows.COLUMNS)
    with Reader(str(project / "journal.db")) as reader:
        made = reader.ask("select sql from sqlite_schema where tbl_name = 'event' and sql > '' and type <> 'trigger'")
        first, second = reader.ask(f"select {columns} from event order by seq desc limit 2")[::-1]
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "normal")
    for (statement,) in made:
        connection.execute(statement)
    insert = f"insert into event ({columns}) values ({', '.join('?' * len(rows.COLUMNS))})"
    numbers = count(1)

    def call() -> None:
        id = next(numbers).to_bytes(16, "big")
        connection.execute(insert, (id, rows.OPEN, *first[2:]))
        connection.execute(insert, (id, rows.DONE, *second[2:]))

    return call


PARTS = {"recorded_spans": recorded_spans}
