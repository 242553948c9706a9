"""Payloads as programs really record them, on the pages and in a report: their digits, pictures, sounds and output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import warm
from tests.web.conftest import Visit, environment, serving, visiting
from tests.web.test_report import export, opened
from tests.web.test_values import call

OUTPUT = {
    "python": "# Load the data\nimport os\n\nclass A:\n    def f(self, **kwargs):\n        return 2 ** 3 * 4\n",
    "yaml": "# config\nitems:\n- a\n- b:\n    c: 1\n",
    "log": "10:00 INFO  *** start ***\n10:01 WARN  low_disk_space\n> quoted\n",
    "files": "total 12\n-rw-r--r-- 1 root root   12 a.txt\ndrwxr-xr-x 2 root root    6 long_name\n",
    "rows": " id | name  | v\n----+-------+---\n  1 | alpha | 2\n",
    "changes": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-# **old** [a](b)\n+# new\n",
}
RECORDER = """
import base64, json, os, struct, sys, wave, zlib
from io import BytesIO
import localops

def png(width, height):
    rows = b"".join(b"\\0" + os.urandom(width * 3) for _ in range(height))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return b"\\x89PNG\\r\\n\\x1a\\n" + parts

def wav():
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    return file.getvalue()

text = lambda data: base64.b64encode(data).decode()
small, sound = png(12, 10), text(wav())
picture, large = text(small), "data:image/png;base64," + text(png(700, 600))

localops.init(auto_start_session=False)
with localops.start_session([], name="payloads") as session:
    tool = lambda name, params, returns: session.record(localops.ToolEvent(name=name, params=params, returns=returns))
    tool("digits", {"user_id": 1234567890123456789, "share": 1.0}, {"id": 9007199254740993})
    tool("order", {}, '{"a": 1, "a": 2, "b": 1.10, "c": 1e2, "10": "x", "2": "y"}')
    tool("mcp", {}, {"content": [
        {"type": "image", "data": picture, "mimeType": "image/png"},
        {"type": "audio", "data": sound, "mimeType": "audio/wav"},
    ]})
    tool("octets", {}, {"png": small})
    for name, screenshot in (("text", picture), ("address", "data:image/png;base64," + picture), ("bytes", small)):
        session.record(localops.ActionEvent(action_type=f"shot {name}", screenshot=screenshot))
    session.record(localops.ActionEvent(action_type="shot large", screenshot=large))
    for name, written in json.loads(sys.argv[1]).items():
        tool(name, "# Take all", written)
    def llm(model, prompt, completion):
        event = localops.LLMEvent(model=model, prompt=prompt)
        event.completion = completion
        session.record(event)
    user = lambda *parts: [{"role": "user", "content": [*parts]}]
    llm("large-picture", user({"type": "image_url", "image_url": {"url": large}}), "A picture.")
    spoken = {"id": "a", "data": sound, "format": "wav", "transcript": "spoken words"}
    llm("speaks", "Speak", {"role": "assistant", "content": None, "audio": spoken})
    llm("bedrock", user({"image": {"format": "png", "source": {"bytes": small}}}), "Seen.")
    llm("ollama", [{"role": "user", "content": "What?", "images": [picture]}], "Seen.")
    llm("draws", "Draw", {"data": [{"b64_json": picture}]})
    llm("generates", "Draw", [{"type": "image_generation_call", "result": picture}])
"""
DOCUMENT = "# Title\n\n- **one**\n- two\n"
# Event → the pictures and the sounds in it.
MEDIA = {
    "mcp": (1, 1),
    "octets": (1, 0),
    "shot text": (1, 0),
    "shot address": (1, 0),
    "shot bytes": (1, 0),
    "shot large": (1, 0),
    "large-picture": (1, 0),
    "speaks": (0, 1),
    "bedrock": (1, 0),
    "ollama": (1, 0),
    "draws": (1, 0),
    "generates": (1, 0),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with a session of such payloads."""
    home = tmp_path_factory.mktemp("payloads") / "home"
    warm.run([sys.executable, "-c", RECORDER, json.dumps(OUTPUT)], env=environment(home), check=True, timeout=60)
    return home


@pytest.fixture(scope="module")
def payloads(chromium: Browser, home: Path) -> Iterator[Visit]:
    """Return a visit to the session."""
    with serving(home) as link, visiting(chromium, link) as visit:
        visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        visit.open("/login")  # for tests of modules alone, which are at no other page
        yield visit


@pytest.fixture(scope="module")
def report(home: Path) -> Path:
    """Return a report of the session."""
    return export(home, "payloads.html", "--all")


def details(page: Page, name: str) -> Page:
    """Choose an event of a session's table; return the page when its details are there."""
    page.locator(".events .row", has_text=name).first.click()
    page.locator("#details h2", has_text=name).wait_for()
    page.wait_for_selector("#details section")
    return page


def event(visit: Visit, name: str) -> Page:
    """Open the details of an event."""
    return details(visit.session("payloads", "events"), name)


def copied(visit: Visit, form: str) -> str:
    """Return what the menu of the details copies in a form."""
    visit.page.evaluate("navigator.clipboard.writeText('')")
    visit.page.get_by_text("Copy as").click()
    visit.page.locator("#details .menu").get_by_role("button", name=form, exact=True).click()
    visit.until("(await navigator.clipboard.readText()) !== ''")
    return str(visit.page.evaluate("navigator.clipboard.readText()"))


NUMBERS = ["1234567890123456789", "1.0", "9007199254740993"]


def test_numbers_have_their_recorded_digits(payloads: Visit) -> None:
    """In the details, in what is copied, and in the stored row."""
    page = event(payloads, "digits")
    assert page.locator("#details pre .number").all_inner_texts() == NUMBERS
    form = copied(payloads, "JSON")
    assert [number for number in NUMBERS if f": {number}" in form] == NUMBERS
    start = json.loads(form)["start_ns"]
    page.get_by_role("button", name="Raw", exact=True).click()
    assert f'"start_ns": {start}' in page.locator("#details").inner_text()


def test_keys_have_their_recorded_order(payloads: Visit) -> None:
    """Each is there as often as it was recorded, in a text of JSON too."""
    page = event(payloads, "order")
    result = page.locator("#details section[data-title=Result] pre").inner_text()
    keys, numbers = zip(*(line.strip(" ,").split(": ") for line in result.splitlines()[1:-1]), strict=True)
    assert keys == ('"a"', '"a"', '"b"', '"c"', '"10"', '"2"')
    assert numbers[:4] == ("1", "2", "1.10", "1e2")
    page.get_by_role("button", name="Show as recorded").click()
    assert page.locator("#details section[data-title=Result] pre").inner_text().startswith('{"a": 1, "a": 2')


def test_a_report_has_the_same_digits(chromium: Browser, report: Path) -> None:
    """They are read from the same text."""
    with opened(chromium, report) as page:
        page.locator("#tab-events").click()
        details(page, "digits")
        assert page.locator("#details pre .number").all_inner_texts() == NUMBERS


# The sizes of the pictures of an element, once they are loaded, and how many sounds it has.
SEEN = """async (root) => {
    const images = [...root.querySelectorAll("img")];
    images.forEach((image) => (image.loading = "eager"));
    await Promise.all(images.map((image) => image.decode()));
    return [images.map((image) => image.naturalWidth), root.querySelectorAll("audio").length];
}"""


def media(page: Page, name: str) -> tuple[int, int]:
    """Return how many pictures and sounds the details of an event have; a picture that is broken raises an error."""
    widths, sounds = details(page, name).locator("#details").evaluate(SEEN)
    assert set(widths) <= {700 if "large" in name else 12}
    return len(widths), sounds


def test_pictures_and_sounds_of_each_form_are_drawn(payloads: Visit) -> None:
    """As base64, as an address of data, as bytes, and from a file beside the journal: once each."""
    page = payloads.session("payloads", "events")
    assert {name: media(page, name) for name in MEDIA} == MEDIA
    assert "image/png" in details(page, "large-picture").locator("section[data-title=Files]").inner_text()
    assert "spoken words" in details(page, "speaks").locator("#details").inner_text()


STRIP = "document.querySelectorAll('.strip img').length === 4"


def test_the_strip_has_all_screenshots(payloads: Visit) -> None:
    """However they were recorded."""
    page = payloads.session("payloads", "timeline")
    payloads.until(STRIP)
    assert page.locator(".strip").evaluate(SEEN)[0] == [12, 12, 12, 700]


def test_a_conversation_draws_them_too(payloads: Visit) -> None:
    """A large one is loaded from its file."""
    page = payloads.session("payloads", "chat")
    page.locator(".chat:not(.coming)").wait_for()
    turn = page.locator(".turn", has_text="large-picture")
    turn.scroll_into_view_if_needed()
    turn.locator(".media img").wait_for(state="attached")
    assert turn.evaluate(SEEN)[0] == [700]


def test_what_is_in_a_file_is_copied_with_the_call(payloads: Visit) -> None:
    """The command has the whole picture; the button of an answer copies its words alone."""
    page = event(payloads, "large-picture")
    command = copied(payloads, "cURL")
    assert len(command) > 1 << 20
    assert "data:image/png;base64,iVBORw0KGgo" in command
    assert "$blob" not in command
    assert '"$blob": ' in copied(payloads, "JSON")
    details(page, "speaks").locator("section[data-title=Completion] h3 button").click()
    payloads.until("(await navigator.clipboard.readText()) === 'spoken words'")


def test_a_picture_is_enlarged(payloads: Visit) -> None:
    """By Enter, too; Esc closes only that."""
    page = details(payloads.session("payloads", "events"), "large-picture")
    button = page.locator("#details button.picture")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog.picture img")
    dialog.wait_for()
    assert dialog.bounding_box()["height"] > button.bounding_box()["height"]  # type: ignore[index]
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    assert page.locator("#details section").count() > 0


def test_a_picture_that_a_report_leaves_out_has_its_size(payloads: Visit) -> None:
    """In the place of the picture."""
    script = """async () => {
        const [{ know }, { shown }] = await Promise.all(["files", "values"].map((name) => import(`/web/${name}.js`)));
        know([{ digest: "d", kind: "image/png", bytes: 40_000_000, url: null }]);
        return shown({ $blob: "d", $len: 40_000_000, head: "" }).textContent;
    }"""
    assert payloads.page.evaluate(script) == "image/png, 38.1 MB: not in this report"


def test_a_report_has_the_pictures(chromium: Browser, report: Path) -> None:
    """Those that are stored as files, too."""
    with opened(chromium, report) as page:
        page.locator("#tab-events").click()
        assert {name: media(page, name) for name in ("shot large", "large-picture", "octets")} == {
            "shot large": (1, 0),
            "large-picture": (1, 0),
            "octets": (1, 0),
        }
        page.locator("#details button.picture").first.click()
        page.locator("dialog.picture img").click()
        expect(page.locator("dialog")).to_have_count(0)
        page.locator("#tab-timeline").click()
        page.locator(".strip img").nth(3).wait_for()


def test_the_text_of_a_tool_is_shown_line_by_line(payloads: Visit) -> None:
    """Its comments are no headings, its columns stay aligned; a string of arguments is shown in the same way."""
    page = payloads.session("payloads", "events")
    for name, text in OUTPUT.items():
        given, result = details(page, name).locator("#details pre.output").all()
        assert (given.text_content(), result.text_content()) == ("# Take all", text)
        assert "mono" in result.evaluate("(each) => getComputedStyle(each).fontFamily")


def test_a_wide_panel_has_arguments_and_result_side_by_side(payloads: Visit) -> None:
    """A narrow one has one below the other; a wide text scrolls within its box."""
    page = event(payloads, "files")
    parts = [page.locator(f"#details section[data-title={title}]") for title in ("Arguments", "Result")]
    tops = {}
    for width in (1280, 2400):
        payloads.looks(width)
        page.locator("#details").evaluate("(each, wide) => (each.style.width = wide)", f"{width // 2}px")
        tops[width] = [part.bounding_box()["y"] for part in parts]  # type: ignore[index]
    payloads.looks()
    assert tops[1280][0] < tops[1280][1]
    assert tops[2400][0] == tops[2400][1]


def test_markdown_of_a_tool_is_drawn_if_it_surely_is(payloads: Visit) -> None:
    """One mark alone may be anything."""
    documents = [
        DOCUMENT,
        "```sh\nls -la\n```",
        "See [a](https://a.test) and **this**.",
        "# A\n\n| a | b |\n|---|---|\n",
    ]
    for text in documents:
        assert call(payloads, "output.js", "isDocument", text), text
    for text in (*OUTPUT.values(), "- a\n- b", "a **b** c", "int f(**a) {\n# x [a](b)\n"):
        assert not call(payloads, "output.js", "isDocument", text), text


def test_codes_of_a_terminal_are_colours(payloads: Visit) -> None:
    """Others are left out."""
    text = "\x1b[1;31mred\x1b[0m \x1b[2K\x1b[38;5;12mx\x1b[0m\x1b]8;;https://e.test\x07y\x1b(B \x1b[92mgreen"
    expected = [["red", "ansi-1 bold"], [" ", ""], ["x", ""], ["y", ""], [" ", ""], ["green", "ansi-2"]]
    assert call(payloads, "output.js", "pieces", text) == expected


# What is seen of a value: the roles of its messages, its thinking, its calls with their arguments, and its other text.
DRAWN = """async (value) => {
    const { conversation } = await import("/web/values.js");
    const box = conversation(value);
    const take = (kind) => [...box.querySelectorAll(kind)].map((each) => (each.remove(), each.textContent));
    const roles = [...box.querySelectorAll(".message")].map((each) => each.className);
    take("summary"), take(".raw"), take(".role");
    return [roles, take(".thinking"), take(".call").map((each) => each.replace(/\\s/g, "")), box.textContent];
}"""
ASSISTANT, USER, TOOL = "message assistant", "message user", "message tool"


@pytest.mark.parametrize(
    ("value", "drawn"),
    [
        (
            {
                "role": "model",
                "parts": [
                    {"text": "why", "thought": True},
                    {"text": "answer"},
                    {"functionCall": {"name": "f", "args": {"a": 1}}},
                ],
            },
            [[ASSISTANT], ["why"], ['f{"a":1}'], "answer"],
        ),
        (
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "why"}}},
                    {"text": "answer"},
                    {"toolUse": {"toolUseId": "q", "name": "f", "input": {"a": 1}}},
                ],
            },
            [[ASSISTANT], ["why"], ['f{"a":1}'], "answer"],
        ),
        ("<think>\nwhy\n</think>\n\nanswer", [[], ["why"], [], "answer"]),
        (
            {
                "role": "assistant",
                "content": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "a"}],
            },
            [[ASSISTANT], [], [], "thinking, not readablea"],
        ),
        (
            [{"type": "human", "content": "q", "name": None}, {"type": "ai", "content": "answer"}],
            [[USER, ASSISTANT], [], [], "qanswer"],
        ),
        (
            [[{"lc": 1, "type": "constructor", "id": ["x", "HumanMessage"], "kwargs": {"content": "q"}}]],
            [[USER], [], [], "q"],
        ),
        (
            [
                {"role": "assistant", "content": [{"type": "tool-call", "toolName": "f", "args": {"a": 1}}]},
                {"role": "tool", "content": [{"type": "tool-result", "toolName": "f", "result": "# r"}]},
            ],
            [[ASSISTANT, TOOL], [], ['f{"a":1}'], "# r"],
        ),
        (
            {"role": "user", "content": [{"toolResult": {"toolUseId": "q", "content": [{"text": "# r"}]}}]},
            [[USER], [], [], "# r"],
        ),
        ([{"type": "text", "content": "no message"}, {"type": "human"}], None),
        ([{"type": "tool", "content": "a hammer", "price": 5}], None),
    ],
)
def test_messages_of_each_library_are_messages(payloads: Visit, value: object, drawn: list[Any] | None) -> None:
    """Who speaks, what a model thought, what it calls, and what it says are apart in each form."""
    if drawn is None:
        assert not call(payloads, "values.js", "isConversation", value)
    else:
        assert payloads.page.evaluate(DRAWN, value) == drawn


def test_a_comparison_reads_the_same_messages(payloads: Visit) -> None:
    """With the digits of what they hold."""
    prompt = [
        {"type": "human", "content": "q", "name": None, "additional_kwargs": {}},
        {"role": "model", "parts": [{"text": "a"}, {"functionCall": {"name": "f"}}]},
    ]
    expected = 'user:\nq\n\nmodel:\na\n{\n  "functionCall": {\n    "name": "f"\n  }\n}'
    assert call(payloads, "compared_texts.js", "readable", prompt) == expected


def test_addresses_in_json_are_links(payloads: Visit) -> None:
    """As in Markdown: only those of the web, without a referrer; angle brackets around one are no part of it."""
    script = """async (value) => {
        const { shown } = await import("/web/values.js");
        const links = [...shown(value).querySelectorAll("a")];
        return links.map((each) => [each.textContent, each.getAttribute("href"), each.rel]);
    }"""
    link = ["https://e.test/a?b=1", "https://e.test/a?b=1", "noopener noreferrer"]
    rows = [{"a": 1, "url": link[0]}, {"a": 2, "url": "file:///etc"}]
    tree = {"deep": {"url": link[0]}, "bad": "javascript:alert(1)", "words": "see https://e.test"}
    for value in ({"url": link[0]}, tree, rows, f"Go to <{link[0]}>."):
        assert payloads.page.evaluate(script, value) == [link], value


def test_payloads_can_be_used_with_a_keyboard_and_a_reader(payloads: Visit) -> None:
    """In the details, the window of a picture and the conversation, in light and dark colours."""
    page = event(payloads, "mcp")
    problems = payloads.unusable_anywhere("#details")
    page.locator("#details button.picture").click()
    page.locator("dialog.picture img").wait_for()
    problems += payloads.unusable_anywhere("dialog")
    page.keyboard.press("Escape")
    details(page, "python")
    problems += payloads.unusable_anywhere("#details")
    page.locator("#tab-chat").click()
    page.locator(".chat:not(.coming)").wait_for()
    assert problems + payloads.unusable_anywhere() == []
