"""Recorded values as the pages draw them: Markdown, JSON, pictures, tables, and text to copy.

The modules that know no elements are called by themselves, in the browser that runs them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

import localops
from tests import warm
from tests.web.conftest import Visit, environment, serving, visiting

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ANSWER = """\
# Plan

Use **two** tools.

- one
- two

```python
print('<b>')
```

| tool | calls |
|---|---:|
| a | 3 |"""

RECORDER = """
import json, sys
import localops

localops.init(auto_start_session=False)
session = localops.start_session([], name="values")
for kind, facts in json.loads(sys.argv[1]):
    if kind == "llm":
        completion = facts.pop("completion", None)
        event = localops.LLMEvent(**facts)
        event.completion = completion
    else:
        event = localops.ToolEvent(**facts)
    session.record(event)
session.end_session("Success")
"""

EVENTS: list[Any] = [
    (
        "llm",
        {
            "model": "gpt-4o",
            "params": {"temperature": 0.5},
            "prompt": [
                {"role": "system", "content": "It's brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                    ],
                },
            ],
            "completion": {"role": "assistant", "content": ANSWER},
        },
    ),
    (
        "llm",
        {
            "model": "claude-sonnet-4-5",
            "prompt": [
                {
                    "role": "user",
                    "content": [{"type": "image", "source": {"type": "url", "url": "https://e.test/i.png"}}],
                }
            ],
            "completion": {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "I should look."},
                    {"type": "tool_use", "name": "look", "input": {"at": "it"}},
                ],
            },
        },
    ),
    (
        "tool",
        {
            "name": "rows",
            "params": {"sql": "select 1\nfrom t"},
            "returns": [{"id": n, "name": f"n{n}"} for n in range(150)],
        },
    ),
    (
        "tool",
        {
            "name": "deep",
            "params": {"q": 1},
            "returns": {"a": {"b": {"c": {"d": [1, 2]}}}, "text": '{"inside": [1]}', "many": list(range(250))},
        },
    ),
]


@pytest.fixture(scope="module")
def values(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Return a visit to a session with values of every form."""
    home = tmp_path_factory.mktemp("values") / "home"
    command = [sys.executable, "-c", RECORDER, json.dumps(EVENTS)]
    warm.run(command, env=environment(home), check=True, timeout=60)
    with serving(home) as link, visiting(chromium, link) as visit:
        visit.open("/login")  # for tests of modules alone, which are at no other page
        yield visit


def event(values: Visit, name: str) -> Page:
    """Open the details of an event."""
    page = values.session("values", "events")
    page.locator(".events .row", has_text=name).first.click()
    page.wait_for_selector("#details section")
    return page


def call(visit: Visit, module: str, function: str, *arguments: object) -> Any:
    """Return the result of a function of a module of the pages."""
    script = "([module, name, given]) => import(`/web/${module}`).then((all) => all[name](...given))"
    return visit.page.evaluate(script, [module, function, list(arguments)])


def test_an_answer_is_read_as_markdown_and_as_it_was_recorded(values: Visit) -> None:
    """Headings, lists, code and tables are drawn; a switch shows the text with its marks."""
    page = event(values, "gpt-4o")
    answer = page.locator("#details .message.assistant")
    assert answer.locator(".heading").inner_text() == "Plan"
    assert answer.locator("strong").inner_text() == "two"
    assert answer.locator("li").all_inner_texts() == ["one", "two"]
    assert answer.locator("pre code").inner_text() == "print('<b>')"
    assert answer.locator("td").all_inner_texts() == ["a", "3"]
    answer.get_by_role("button", name="Show as recorded").click()
    assert answer.locator(".text").inner_text() == ANSWER
    answer.get_by_role("button", name="Show formatted").click()
    assert answer.locator("li").count() == 2


def test_a_picture_in_a_message_is_seen_and_one_elsewhere_is_a_link(values: Visit) -> None:
    """No page fetches what a recorded address names."""
    values.listen()
    page = event(values, "gpt-4o")
    values.until("document.querySelector('#details .media img')?.naturalWidth === 1")
    page = event(values, "claude")
    assert page.locator("#details .message.user a").get_attribute("href") == "https://e.test/i.png"
    assert page.locator("#details img").count() == 0
    assert not [url for url in values.asked if "e.test" in url]


def test_thinking_is_folded_and_a_call_has_its_arguments(values: Visit) -> None:
    """Both are parts of one message."""
    page = event(values, "claude")
    thinking = page.locator("#details .thinking")
    assert not thinking.locator(".text").is_visible()
    thinking.locator("summary").click()
    assert thinking.locator(".text").inner_text() == "I should look."
    assert '"at": "it"' in page.locator("#details .call").inner_text()


def test_records_are_a_table(values: Visit) -> None:
    """It can be opened to its end, and seen as JSON; a text of several lines keeps them."""
    page = event(values, "rows")
    assert page.locator("#details .block").inner_text() == "select 1\nfrom t"
    page.get_by_role("button", name="Show all").click()
    rows = page.locator("#details tbody tr")
    assert rows.count() == 100
    page.get_by_role("button", name="50 more").click()
    assert (rows.count(), rows.last.inner_text().split()) == (150, ["149", "n149"])
    page.get_by_role("button", name="Show as recorded").click()
    assert rows.count() == 0


def test_records_in_a_message_are_the_same_table(values: Visit) -> None:
    """As JSON in the text of a message, too; its one switch shows the text as recorded."""
    script = """async (rows) => {
        const { shown } = await import("/web/values.js");
        const all = [rows, [{ role: "tool", content: JSON.stringify(rows) }]].map(shown);
        document.body.append(...all);
        const tables = all.map((each) => each.querySelector("table").textContent);
        const buttons = [...all[1].querySelectorAll("button:not([hidden])")];
        buttons[0].click();
        return [tables, buttons.map((each) => each.textContent), all[1].querySelector(".output").textContent];
    }"""
    rows = [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}]
    tables, buttons, text = values.open("/login").evaluate(script, rows)
    assert tables[0] == tables[1]
    assert (buttons, json.loads(text)) == (["Show as recorded"], rows)


def test_short_columns_keep_their_words(values: Visit) -> None:
    """A name is not broken where the text beside it has lines to spare, in records and in Markdown."""
    rows = [{"id": f"RB-{at}", "edited_by": "import-bot", "text": "disk full " * 15} for at in (112, 219)]
    table = "| id | edited_by | text |\n|---|---|---|\n" + "".join(
        "| {id} | {edited_by} | {text} |\n".format(**row) for row in rows
    )
    script = """async (all) => {
        const { shown } = await import("/web/values.js");
        const box = document.createElement("div");
        box.style.width = "24rem";
        box.append(...all.map(shown));
        document.body.append(box);
        return [...box.querySelectorAll("tr")].map((row) => [...row.children].map((cell) => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return new Set([...range.getClientRects()].map((line) => line.y)).size;
        }));
    }"""
    lines = values.open("/login").evaluate(script, [rows, table])
    assert len(lines) == 6
    assert all(row[:2] == [1, 1] for row in lines)
    assert lines[1][2] > 2


def test_a_wide_table_scrolls_in_its_box(values: Visit) -> None:
    """A last column of sentences beside many others keeps whole words, however narrow the window."""
    names = ["item", "in stock", "reserved", "warehouse", "last counted", "supplier", "comment"]
    cells = ["bolt M61", "61", "3", "Lyon", "2026-11-30", "Rossi & figli", "a comment that is rather long for a cell"]
    text = "\n".join(f"| {' | '.join(row)} |" for row in (names, ["---"] * 7, cells))
    script = """async (text) => {
        const { shown } = await import("/web/values.js");
        const box = document.createElement("div");
        box.style.width = "20rem";
        box.append(shown(text));
        document.body.append(box);
        const wrap = box.querySelector(".table-wrap");
        const heights = [...wrap.querySelectorAll("tr")].map((row) => row.clientHeight / 14);
        return [wrap.scrollWidth > wrap.clientWidth, wrap.clientWidth <= box.clientWidth, heights];
    }"""
    scrolls, fits, (head, row) = values.open("/login").evaluate(script, text)
    assert (scrolls, fits) == (True, True)
    assert head < 3
    assert row < 9


def test_an_empty_answer_says_why(chromium: Browser, tmp_path: Path) -> None:
    """The reason of the model and its reasoning are in the conversation; an answer of tool calls alone is not empty."""
    facts: dict[str, Any] = {"model": "o4-mini", "prompt_tokens": 10, "completion_tokens": 9, "reasoning_tokens": 9}
    calls = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    localops.init(home=str(tmp_path), auto_start_session=False)
    with localops.start_session(name="empties") as session:
        answers: list[tuple[Any, str]] = [
            ("", "length"),
            ({"role": "assistant", "content": ""}, "length"),
            ({"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"),
        ]
        for completion, reason in answers:
            event = localops.LLMEvent(prompt="Plan it.", **facts)
            event.completion = completion
            event.finish_reason = reason
            session.record(event)
    with serving(tmp_path) as link, visiting(chromium, link) as visit:
        page = visit.session("empties", "chat")
        visit.until("document.querySelectorAll('.turn .message.assistant').length === 3")
        texts = page.locator(".turn .message.assistant").all_inner_texts()
    why = "empty: stopped at its length limit (length); 9 of 9 tokens were reasoning"
    assert [why in text for text in texts] == [True, True, False]
    assert "empty" not in texts[2]


def test_only_what_is_much_too_long_is_folded(values: Visit) -> None:
    """A click on "Show all" shows more than a line."""
    script = """async (heights) => {
        const { clipped } = await import("/web/values.js");
        const boxes = heights.map((height) => {
            const inside = document.createElement("div");
            inside.style.height = `${height}rem`;
            const box = clipped(inside);
            document.body.append(box);
            return box;
        });
        for (let n = 0; n < 3; n += 1) await new Promise(requestAnimationFrame);
        const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
        return boxes.map((box) => [box.firstChild.clientHeight / rem, box.querySelector("button").hidden]);
    }"""
    shown = values.open("/login").evaluate(script, [10, 28, 30])
    assert shown == [[10, True], [28, True], [22, False]]


def test_a_long_answer_hides_no_tool_call(values: Visit) -> None:
    """Its text is folded in the conversation; the tools that it calls stay in sight below, in whatever form."""
    text = "many words\n\n" * 200
    openai = {"name": "look", "arguments": '{"at":"it"}'}
    answers: list[dict[str, Any]] = [
        {"completion": {"role": "assistant", "content": text, "tool_calls": [{"id": "1", "function": openai}]}},
        {
            "completion": {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": text},
                    {"type": "tool_use", "name": "look", "input": {"at": "it"}},
                ],
            },
            "tool_calls": [{"id": "1", "name": "look", "arguments": {"at": "it"}}],
        },
        {"completion": text, "tool_calls": [{"id": "1", "name": "look", "arguments": {"at": "it"}}]},
    ]
    script = """async (answers) => {
        const { content } = await import("/web/content.js");
        const boxes = answers.map((answer) => {
            const box = document.createElement("article");
            box.className = "turn";
            box.append(...content({ kind: "llm", ...answer }));
            document.body.append(box);
            return box;
        });
        for (let n = 0; n < 3; n += 1) await new Promise(requestAnimationFrame);
        return boxes.map((box) => [...box.querySelectorAll(".call")].map((call) => {
            const clip = call.closest(".clip")?.getBoundingClientRect();
            const isHidden = clip && call.getBoundingClientRect().bottom > clip.bottom;
            return [call.textContent, !isHidden, Boolean(box.querySelector(".clip.cut"))];
        }));
    }"""
    shown = values.open("/login").evaluate(script, answers)
    assert [[(name[:4], *rest) for name, *rest in calls] for calls in shown] == [[("look", True, True)]] * 3


def test_json_folds(values: Visit) -> None:
    """Deep values are folded at first, JSON inside a text is shown as JSON, and long lists load in parts."""
    page = event(values, "deep")
    tree = page.locator("#details .tree-of-json")
    assert tree.get_by_text('"inside":').is_visible()
    assert not tree.get_by_text('"d":').is_visible()
    tree.get_by_text('"c":').click()
    tree.get_by_text('"d":').wait_for()
    assert tree.get_by_text("150 more entries").count() == 1
    # Each on its line, without an empty one between.
    gaps = "all => all.map(each => getComputedStyle(each).marginTop)"
    assert set(tree.locator(".inside > * + .entry").evaluate_all(gaps)) == {"0px"}


def test_a_conversation_shows_arguments_beside_the_result(values: Visit) -> None:
    """Each tool call is one turn of two columns."""
    page = values.session("values", "chat")
    values.until("document.querySelectorAll('.turn.tool .beside').length === 2")
    given, result = page.locator(".turn.tool .beside").first.locator("> .side > .message").all()
    assert given.bounding_box()["y"] == result.bounding_box()["y"]  # type: ignore[index]
    colour = "each => getComputedStyle(each).color"
    assert given.evaluate(colour) == page.locator("body").evaluate(colour)
    assert given.bounding_box()["x"] < result.bounding_box()["x"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("a\nb\n\nc", [{"kind": "text", "text": "a\nb"}, {"kind": "text", "text": "c"}]),
        ("## Two ##", [{"kind": "heading", "level": 2, "text": "Two"}]),
        (
            "```py\nx\n\ny\n```\nz",
            [{"kind": "code", "language": "py", "text": "x\n\ny"}, {"kind": "text", "text": "z"}],
        ),
        ("~~~\ncut off", [{"kind": "code", "language": "", "text": "cut off"}]),
        ("---", [{"kind": "rule"}]),
        ("> a\n> b", [{"kind": "quote", "blocks": [{"kind": "text", "text": "a\nb"}]}]),
        ("#5 is no heading, 1.5 no list", [{"kind": "text", "text": "#5 is no heading, 1.5 no list"}]),
        (
            "|a|b|\n|-|-|\nno table",
            [{"kind": "text", "text": "|a|b|\n|-|-|\nno table"}],
        ),
        (
            "| a | b |\n| :---: | ---: |\n| x \\| y | z |",
            [{"kind": "table", "head": ["a", "b"], "rows": [["x | y", "z"]], "sides": ["center", "right"]}],
        ),
    ],
)
def test_blocks_of_markdown(values: Visit, text: str, blocks: object) -> None:
    """A text is cut into blocks, and what is no block stays text."""
    assert call(values, "markdown.js", "blocks", text) == blocks


def test_lists_are_nested(values: Visit) -> None:
    """Items have their numbers, and what belongs to them."""
    [list_] = call(values, "markdown.js", "blocks", "3. a\n   - x\n   - y\n\n4. b\n   more")
    first, second = list_["items"]
    assert (list_["ordered"], first["number"], second["number"]) == (True, 3, 4)
    assert [len(block.get("items", [])) for block in first["blocks"]] == [0, 2]
    assert second["blocks"] == [{"kind": "text", "text": "b\nmore"}]


# The room that the first number of a list has to its left, less its width: markers have no box that could be asked.
ROOM = """async (text) => {
    const { drawn } = await import("/web/markdown.js");
    const box = drawn(text), mark = document.createElement("span");
    document.body.append(box);
    const words = new Range(), item = box.querySelector("li");
    words.selectNodeContents(item);
    const room = words.getBoundingClientRect().left - box.getBoundingClientRect().left;
    mark.textContent = `${item.value}. `;
    mark.style.whiteSpace = "pre";
    box.append(mark);
    const { width } = mark.getBoundingClientRect();
    box.remove();
    return room - width;
}"""


def test_numbers_of_a_list_are_whole(values: Visit) -> None:
    """However many digits they have, they are within the box of the text."""
    for number in (1, 17, 365, 20261130):
        assert values.page.evaluate(ROOM, f"{number}. a") >= 0, number


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("a **b** c", [["text", "a "], ["strong", "b"], ["text", " c"]]),
        ("*a* and _b_", [["em", "a"], ["text", " and "], ["em", "b"]]),
        ("2 * 3 * 4, a_b_c, **, ** x **", [["text", "2 * 3 * 4, a_b_c, **, ** x **"]]),
        ("`a ** b` ``c ` d``", [["code", "a ** b"], ["text", " "], ["code", "c ` d"]]),
        (
            "see https://e.test/a_b_(c).",
            [["text", "see "], ["link", "https://e.test/a_b_(c", "https://e.test/a_b_(c"], ["text", ")."]],
        ),
        (
            "[x](https://e.test/y 'z')",
            [["text", "[x]("], ["link", "https://e.test/y", "https://e.test/y"], ["text", " 'z')"]],
        ),
        ("[x](javascript:alert(1))", [["text", "[x](javascript:alert(1))"]]),
        ("[x](mailto:a@b.test)", [["link", "x", "mailto:a@b.test"]]),
    ],
)
def test_spans_of_markdown(values: Visit, text: str, spans: object) -> None:
    """Emphasis, code and links; an address of another scheme stays text."""
    assert call(values, "markdown.js", "spans", text) == spans


@pytest.mark.parametrize(
    "piece", ["`", "`` ", "**a ", "[", "[a](", "*", "_a ", "| ", "> ", "- ", "#  ", "http://", " "]
)
def test_markdown_is_read_in_a_moment_whatever_it_is(values: Visit, piece: str) -> None:
    """No text of the length that is drawn at once keeps the page busy."""
    script = """([text]) => import("/web/markdown.js").then(({ blocks, spans, isMarked }) => {
        const begin = performance.now();
        isMarked(text);
        blocks(text);
        spans(text);
        return performance.now() - begin;
    })"""
    text = piece * (20_000 // len(piece))
    assert values.page.evaluate(script, [text]) < 5_000
    assert values.page.evaluate(script, [text.replace(" ", "\n")]) < 5_000


@pytest.mark.parametrize(
    ("part", "media"),
    [
        ({"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}, {"type": "image/png", "data": PIXEL}),
        ({"inlineData": {"mimeType": "image/webp", "data": "AAAA"}}, {"type": "image/webp", "data": "AAAA"}),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            {"type": "audio/mp3", "data": "AAAA"},
        ),
        ({"type": "blob", "mime_type": "image/png", "content": "AAAA"}, {"type": "image/png", "data": "AAAA"}),
        (
            {"type": "image_url", "image_url": {"url": "https://e.test/a"}},
            {"type": "image", "address": "https://e.test/a"},
        ),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, None),
        ({"type": "text", "text": "data:image/png"}, None),
        ("https://e.test/a.png", None),
        (None, None),
    ],
)
def test_media_of_each_api(values: Visit, part: object, media: object) -> None:
    """Pictures and sounds are known in the forms of the model APIs."""
    assert call(values, "media.js", "mediaOf", part) == media


def test_a_call_is_copied_as_a_program(values: Visit) -> None:
    """The Python is valid, and asks for what was recorded; the command quotes for a shell."""
    [(_, facts), *_] = EVENTS
    facts = {
        **facts,
        "kind": "llm",
        "tool_definitions": [{"type": "function", "function": {"name": "f", "strict": True}}],
    }
    program = call(values, "copies.js", "python", facts)
    asked: list[Any] = []

    class OpenAI:
        def __init__(self) -> None:
            self.chat = self.completions = self

        def create(self, **request: object) -> None:
            asked.append(request)

    program = program.replace("import openai", "").replace("print(response)", "")
    exec(program, {"openai": type("openai", (), {"OpenAI": OpenAI})})
    expected = {"model": "gpt-4o", "temperature": 0.5, "messages": facts["prompt"], "tools": facts["tool_definitions"]}
    assert asked == [expected]
    command = call(values, "copies.js", "curl", facts)
    *words, body = run(command)
    assert words[0] == "https://api.openai.com/v1/chat/completions"
    assert "Authorization: Bearer key" in words
    assert json.loads(body) == expected


def run(command: str) -> list[str]:
    """Return the arguments that a shell gives to curl, and its input."""
    shell = f"curl() {{ printf '%s\\0' \"$@\"; cat; }}\n{command}"
    keys = {"OPENAI_API_KEY": "key", "GEMINI_API_KEY": "key", "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh"], input=shell, capture_output=True, text=True, check=True, env=keys)
    return done.stdout.split("\0")


def test_a_call_of_google_keeps_its_form(values: Visit) -> None:
    """Messages have parts, settings are in one field, and the model is in the address; quotes and length do no harm."""
    text = 'It\'s $HOME `x` \\ "y" ' + "A" * 300_000
    prompt = [{"role": "system", "content": "S"}, {"role": "model", "parts": [{"text": text}]}]
    facts = {"kind": "llm", "model": "gemini-2.0-flash", "prompt": prompt, "params": {"temperature": 0.5}}
    *words, body = run(call(values, "copies.js", "curl", facts))
    assert words[0].endswith("/models/gemini-2.0-flash:generateContent")
    assert "x-goog-api-key: key" in words
    assert json.loads(body) == {
        "contents": [{"role": "model", "parts": [{"text": text}]}],
        "system_instruction": {"parts": [{"text": "S"}]},
        "generationConfig": {"temperature": 0.5},
    }
    program = call(values, "copies.js", "python", facts)
    assert "from google import genai" in program
    compile(program, "copied", "exec")


def test_messages_of_another_form_are_copied_for_openai(values: Visit) -> None:
    """Those of LangChain get roles; items of the newer API go there."""
    facts = {"kind": "llm", "model": "gpt-4o", "prompt": [{"type": "human", "content": "Q"}]}
    assert call(values, "copies.js", "request", facts)["messages"] == [{"role": "user", "content": "Q"}]
    facts["prompt"] = [{"role": "user", "content": [{"type": "input_text", "text": "Q"}]}]
    words = run(call(values, "copies.js", "curl", facts))
    assert words[0].endswith("/responses")
    assert json.loads(words[-1])["input"] == facts["prompt"]


def test_a_call_of_anthropic_keeps_its_form(values: Visit) -> None:
    """The system prompt is a field of its own there."""
    facts = {
        "kind": "llm",
        "model": "claude-sonnet-4-5",
        "prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
    }
    assert call(values, "copies.js", "request", facts) == {
        "model": "claude-sonnet-4-5",
        "system": "S",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "U"}],
    }
    assert call(values, "copies.js", "prose", {**facts, "completion": "A"}) == (
        "LLM claude-sonnet-4-5\n\nsystem:\nS\n\nuser:\nU\n\ncompletion:\nA\n"
    )


def test_an_event_is_copied(values: Visit) -> None:
    """The menu puts the form that is chosen on the clipboard."""
    values.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = event(values, "gpt-4o")
    page.get_by_text("Copy as").click()
    page.get_by_role("button", name="cURL").click()
    values.until("document.getElementById('toast')?.textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl ")
