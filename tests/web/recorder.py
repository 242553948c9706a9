"""Record the sessions that the pages are tested with: `python recorder.py KIND`, in the home of the environment."""

from __future__ import annotations

import base64
import os
import struct
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

import localops
from localops.decorators import agent, operation, tool

# Each of these would run, fetch or break out if any page took recorded text for more than text.
ATTACKS = (
    "<script>window.hurt=1;fetch('http://evil.example/s')</script>",
    "<img src=http://evil.example/i.png onerror='window.hurt=1'>",
    "</script><script>window.hurt=1</script>",
    "\"'><svg onload=window.hurt=1><style>@import 'http://evil.example/c.css'</style>",
    "javascript:window.hurt=1//<iframe src='http://evil.example/f'></iframe>",
    "\u2028\u2029\x00</textarea><!--${window.hurt=1}{{constructor.constructor('window.hurt=1')()}}",
)


@tool(name="look up")
def look_up(word: str) -> list[str]:
    """Find a word, unless it is not there."""
    time.sleep(0.002)
    if word == "unicorn":
        raise LookupError("no such animal")
    return [word, word.upper()]


def speak(model: str, question: str, answer: str, tokens: int = 120, began: float | None = None) -> None:
    """Record a call of a language model."""
    event = localops.LLMEvent(
        init_timestamp=began,
        end_timestamp=began,
        model=model,
        prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}],
        prompt_tokens=tokens,
        completion_tokens=30,
    )
    event.completion = {"role": "assistant", "content": answer}
    localops.record(event)


def picture() -> str:
    """Return the path of a PNG of one pixel."""
    path = Path(os.environ["LOCALOPS_HOME"]).with_name("pixel.png")
    path.write_bytes(png(b"\x22\x66\x44"))
    return str(path)


def png(colour: bytes) -> bytes:
    """Return a picture of one pixel."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + colour)),
        (b"IEND", b""),
    )
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def film() -> str:
    """Return the path of a WebM of two seconds: one green picture, repeated."""
    key_frame = base64.b64decode("cAEAnQEqEAAQAAdAliWgAnQBQAAA/uP2ne5aKowAAAA=")

    def part(name: str, *inside: bytes) -> bytes:
        body = b"".join(inside)
        return bytes.fromhex(name) + (len(body) | 1 << 28).to_bytes(4, "big") + body

    head = part("1a45dfa3", part("4282", b"webm"), part("4287", b"\2"), part("4285", b"\2"))
    duration = part("1549a966", part("2ad7b1", b"\x0f\x42\x40"), part("4489", struct.pack(">d", 2000)))
    size = part("e0", part("b0", b"\x10"), part("ba", b"\x10"))
    track = part("ae", part("d7", b"\1"), part("73c5", b"\1"), part("83", b"\1"), part("86", b"V_VP8"), size)
    frames = [part("a3", b"\x81", struct.pack(">hB", at, 0x80), key_frame) for at in range(0, 2000, 100)]
    path = Path(os.environ["LOCALOPS_HOME"]).with_name("film.webm")
    path.write_bytes(
        head + part("18538067", duration, part("1654ae6b", track), part("1f43b675", part("e7", b"\0"), *frames))
    )
    return str(path)


@agent(name="scout")
class Scout:
    """Looks around."""

    @operation
    def scout(self) -> None:
        """Ask, look up, fail once."""
        speak("gpt-4o", "Which animals live here?", "A fox and a badger.")
        look_up("fox")
        try:
            look_up("unicorn")
        except LookupError:
            localops.record(localops.ActionEvent(action_type="shrug", screenshot=picture()))


@agent(name="scribe")
class Scribe:
    """Writes it down."""

    @operation
    def write(self, ending: str) -> None:
        """Say how it ends."""
        speak("claude-sonnet-4-5", "Write it down.", ending)


def begin(name: str, tags: list[str]) -> localops.Session:
    """Start a session to record in."""
    session = localops.start_session(tags, name=name)
    assert session is not None
    return session


def story(ending: str = "They met at dusk.") -> None:
    """Record a run of two agents, with one error."""
    session = begin("a night in the forest", ["forest", "night"])
    Scout().scout()
    Scribe().write(ending)
    session.end_session("Success", "the animals met")


def other() -> None:
    """Record the same run, with another end."""
    story("They never met.")


def hostile() -> None:
    """Record a session whose every string is an attack."""
    session = begin(ATTACKS[0], list(ATTACKS))
    localops.update_trace_metadata({attack: attack for attack in ATTACKS})
    for attack in ATTACKS:
        attacked(attack)
    session.end_session("Failure", ATTACKS[2])


def attacked(attack: str) -> None:
    """Every kind of event, with nothing in it but an attack."""

    @tool(name=attack)
    def break_in(text: str) -> str:
        raise RuntimeError(text)

    @operation(name=attack)
    def outer(text: str) -> str:
        speak(text, text, text)
        localops.record(localops.LLMEvent(model=text, prompt=text, completion=text))
        localops.record(localops.ActionEvent(action_type=text, params={text: text}, returns=text))
        localops.record(localops.ErrorEvent(error_type=text, details=text, logs=text))
        try:
            return break_in(text)
        except RuntimeError:
            return text

    localops.create_agent(attack)
    outer(attack)


def dead() -> None:
    """Record a session whose process dies in the middle of a tool."""
    begin("cut short", ["dead"])

    @tool(name="fatal step")
    def fatal() -> None:
        speak("gpt-4o", "Still there?", "For a moment.")
        os._exit(9)

    fatal()


def paid() -> None:
    """Record a session with steps that run once, whose process dies in one of them."""
    begin("half paid", ["paid"])

    @tool(once=True)
    def charge(order: str) -> str:
        return order

    @tool(once=True)
    def ship(order: str) -> None:
        os._exit(9)

    for order in ("<b>a</b>", "b", "b"):
        charge(order)
    ship("b")


def chatty() -> None:
    """Record a session with more events than a page has."""
    session = begin("so many owls", ["owls"])
    for number in range(1_100):
        speak("gpt-4o", "What do you see?", f"owl number {number}")
    session.end_session("Success")


@tool
def fetch(url: str, timeout_s: int) -> str:
    """Get a page, and nothing new."""
    return "a catalogue"


def circling() -> None:
    """Record a session that goes round between two pages."""
    session = begin("round and round", ["loop"])
    speak("gpt-4o", "Where is the owl?", "I shall look.")
    for number in range(400):
        fetch(f"https://shop.example/?page={6 + number % 2}", 20)
    localops.record(localops.ErrorEvent(error_type="Lost", details="the owl was nowhere"))
    session.end_session("Failure")


def swapped() -> None:
    """Record two runs of one name: with two calls in another order, another model, and a call that failed."""
    for run, names in enumerate((("prices", "recipes"), ("recipes", "prices"))):
        session = begin("menu", ["swapped"])
        for name in names:
            localops.record(localops.ToolEvent(name=name, params={"market": "west"}, returns=[name]))
        week = f"https://shop.example/menus/of/the/whole/year?week={run}"
        localops.record(localops.ToolEvent(name="publish", params={"url": week}, returns="ok"))
        if run:
            order = localops.ToolEvent(name="order", params={"what": "leeks"})
            localops.record(localops.ErrorEvent(trigger_event=order, exception=TimeoutError("no reply")))
        model = "o4-mini" if run else "o4"
        localops.record(localops.LLMEvent(model=model, prompt="Plan.", completion="First,", finish_reason="length"))
        session.end_session("Success")


def pictured() -> None:
    """Record three runs whose prompts differ in a picture and in a word."""
    for number, word in enumerate(("left", "left", "right")):
        session = begin(f"pictured {number}", ["pictured"])
        pixel = base64.b64encode(png(bytes((0, 0, number)))).decode()
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}}
        content = [{"type": "text", "text": f"What is on the {word}?"}, picture]
        rules = {"role": "system", "content": "Look well."}
        localops.record(
            localops.LLMEvent(model="gpt-4o", prompt=[rules, {"role": "user", "content": content}], completion="Green.")
        )
        session.end_session("Success")


def overspent() -> None:
    """Record a run with nine calls after one tool, and one with a larger call of another model after many tools."""
    for number, (calls, tools, model, tokens) in enumerate([(9, 1, "gpt-4o", 50_000), (1, 8, "o3-mini", 500_000)]):
        session = begin(f"overspent {number}", ["overspent"])
        for at in range(tools):
            localops.record(localops.ToolEvent(name=f"search {number}", params={"page": at}))
        for at in range(calls):
            question = f"Question {number}.{at}"
            speak(model, question, f"Answer {number}.{at}", tokens)
        session.score("helpful", 0.5 + 0.4 * number)
        session.end_session("Success")


def misled() -> None:
    """Record a session in which a tool returns what makes the next one fail."""
    session = begin("misled", ["owl"])
    localops.record(localops.ToolEvent(name="find owl", params={"wood": "north"}, returns={"nest": "nest-0815-b"}))
    climb = localops.ToolEvent(name="climb", params={"nest": "nest-0815-b"})
    localops.record(localops.ErrorEvent(trigger_event=climb, exception=KeyError("nest-0815-b")))
    session.end_session("Failure")


def library() -> None:
    """Record a session of so many events that a search goes through them in the background; the last one matches."""
    session = begin("a library", ["books"])
    for number in range(12_000):
        localops.record(localops.ActionEvent(action_type="read", params=f"page {number}"))
    localops.record(localops.ActionEvent(action_type="read", params="a bookworm"))
    session.end_session("Success")


def filmed() -> None:
    """Record a session with a video."""
    session = begin("filmed", ["video"])
    look_up("owl")
    session.end_session("Success", video=film())


def many() -> None:
    """More sessions than are asked for at once, each with a tag of its own."""
    for number in range(560):
        begin(f"run {number}", [f"tag-{number}"]).end_session("Success")


def costs() -> None:
    """Record a session whose calls have a price, no price, half of their tokens, or were not billed."""
    session = begin("every cost", ["costs"])

    @operation(name="spend")
    def spend() -> None:
        speak("gpt-4o", "How much?", "This much.")
        speak("model-of-my-own", "How much?", "Unknown.")

    @operation(name="guess")
    def guess() -> None:
        speak("model-of-my-own", "And now?", "Still unknown.")

    spend()
    guess()
    for kept in ("an answer", None):
        refused = localops.LLMEvent(model="refused", returns=kept)
        localops.record(localops.ErrorEvent(trigger_event=refused, code="401"))
    localops.record(localops.LLMEvent(model="half-counted", completion_tokens=3))
    free = localops.LLMEvent(model="turned-away")
    localops.record(free)
    localops.record(localops.ErrorEvent(trigger_event=free, code="429"))
    localops.record(localops.ToolEvent(name="gratis"))
    session.end_session("Success")


def unpriced() -> None:
    """Record a session of which no call has a price."""
    session = begin("no price", ["costs"])
    speak("model-of-my-own", "How much?", "Unknown.")
    session.end_session("Success")


def stopped() -> None:
    """Record a session that continued when its budget was reached."""
    session = localops.start_session(name="too dear", config=localops.Config(budget_usd=0.01))
    session.update_metadata({"dataset": "v3"})
    try:
        session.record(localops.ToolEvent(name="buy", cost=0.02))
    except localops.BudgetExceeded:
        session.end_session("Success")


def one() -> None:
    """Record one more session."""
    begin("one more", ["late"]).end_session("Success")


def running() -> None:
    """Record a session that runs until its input ends: one more tool call for each line."""
    session = begin("still going", ["running"])
    print("ready", flush=True)
    for _ in sys.stdin:
        look_up("owl")
        print("done", flush=True)
    session.end_session("Success", "enough owls")


def stuck() -> None:
    """Record a session that stays inside a tool until its input ends."""
    session = begin("deploy", ["stuck"])

    @tool(name="check")
    def check(pod: str) -> str:
        return "not ready"

    check("api-2")

    @tool(name="rollout status")
    def wait(options: dict[str, object]) -> str:
        print("ready", flush=True)
        sys.stdin.read()
        return "rolled out"

    wait({"hosts": {f"host-{number}": {"zone": ["north", "south"]} for number in range(20)}})
    session.end_session("Success")


def lasting() -> None:
    """Record two hours of calls of models in pairs, the first without a price."""
    session = begin("two hours", ["lasting"])
    for number in range(120):
        began = time.time() - 7_200 + number // 2 * 120 + number % 2 * 0.02
        speak("gpt-4o" if number % 2 else "model-of-my-own", "What do you see?", f"owl number {number}", began=began)
    session.end_session("Success")


def browsed() -> None:
    """Record a session of calls with long prompts, and of actions with pictures."""
    session = begin("browsed", ["pictures"])
    messages = [{"role": "system", "content": "You click. " * 400}]
    for number in range(6):
        messages += [{"role": "user", "content": f"What now, after {number} clicks? " * 40}]
        event = localops.LLMEvent(model="gpt-4o", prompt=list(messages), prompt_tokens=100, completion_tokens=9)
        event.completion = {"role": "assistant", "content": f"Click button {number}. " * 60}
        messages += [event.completion]
        localops.record(event)
        localops.record(localops.ActionEvent(action_type=f"click {number}", screenshot=picture()))
    session.end_session("Success", video=film())


def reworded() -> None:
    """Record a run three times with different prompts; a tool fails in the second, and one more is in the third."""
    rules = "\n".join(f"Rule {number}. Keep the words of a ticket as they are." for number in range(40))
    sentences = ("Restate the whole ticket in your own words.", "Answer with the name of the category.", "Be kind.")

    @tool(name="route")
    def route(run: int) -> str:
        if run == 1:
            raise TimeoutError("no reply from the queue")
        return "queued"

    @tool(name="look_up")
    def look_up(file: str) -> str:
        return f"the tariffs in {file}"

    for run, sentence in enumerate(sentences):
        session = begin(f"reworded {run}", ["reworded"])
        speak("gpt-4o", f"{sentence}\n{rules}\nTicket {run}", "A bill.", 120 + run)
        with suppress(TimeoutError):
            route(run)
        fetch("https://shop.example/", 20)
        if run == 2:
            look_up("tariffs.md")
        session.end_session("Success")


def refused() -> None:
    """Record three tools that fail with one class of errors, two of them with messages that are alike."""
    begin("fully booked", ["refused"])
    for name, message in (("book", "no seat in row 12"), ("rebook", "no seat in row 7"), ("upgrade", "desk is closed")):

        @tool(name=name)
        def failing(*, message: str = message) -> None:
            raise LookupError(message)

        with suppress(LookupError):
            failing()


def revised() -> None:
    """Record calls with two versions of one long system prompt, which differ in a word near its end."""
    rules = "\n".join(f"Rule {number}. Keep the words of a ticket as they are." for number in range(60))
    session = begin("revised", ["revised"])
    for word in ("tersely", "kindly"):
        prompt = [{"role": "system", "content": f"{rules}\nAnswer {word}.\n{rules}"}, {"role": "user", "content": "Hi"}]
        localops.record(localops.LLMEvent(model="gpt-4o", prompt=prompt, completion="Hello."))
    session.end_session("Success")


if __name__ == "__main__":
    kinds = {
        each.__name__: each
        for each in (story, other, hostile, dead, chatty, circling, costs, stopped, library, filmed, many, one, running)
    }
    kinds |= {"stuck": stuck, "browsed": browsed, "reworded": reworded, "unpriced": unpriced, "misled": misled}
    kinds |= {"swapped": swapped, "refused": refused, "paid": paid, "revised": revised, "overspent": overspent}
    kinds["lasting"] = lasting
    kinds["pictured"] = pictured
    kinds[sys.argv[1]]()
