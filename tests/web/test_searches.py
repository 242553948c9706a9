"""A search that leads from the list into a session, and the filter of a session."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from localops import clock
from localops.encoding import encode
from localops.journal import rows
from localops.journal.journal import Journal
from tests.web.conftest import Visit, serving, visiting
from tests.web.test_pages import settled


def first_of(held: list[Route], page: Page) -> Route:
    """Return the first request that a test holds back, once the page has sent it."""
    for _ in range(300):
        if held:
            return held[0]
        page.wait_for_timeout(50)
    raise AssertionError("the page asks for nothing")


def test_a_run_that_was_searched_by_its_name_opens_whole(visit: Visit) -> None:
    """Only a search that is in an event becomes the filter of its session; Enter opens the only session of a search."""
    page = visit.open("/")
    settled(visit, 4)
    search = page.locator("#filters input").first
    search.focus()
    page.keyboard.type("cut sho")
    page.keyboard.press("Enter")
    page.wait_for_url("**/s/*")
    visit.until("performance.getEntriesByName('localops-whole').length > 0")
    assert "text=" not in page.url
    assert page.locator("#hidden-events").is_hidden()
    page = visit.open("/")
    settled(visit, 4)
    search.focus()
    page.keyboard.type("met at dusk")
    page.keyboard.press("Enter")
    page.wait_for_url("**/s/*?text=*")
    assert page.get_by_label("Filter events").input_value() == "met at dusk"
    expect(page.locator("#hidden-events")).to_contain_text("The filter dims")


@pytest.fixture(scope="module")
def clocks(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """A visit to a home with a run whose name is also in one of its events."""
    folder = tmp_path_factory.mktemp("clocks") / "home" / "default"
    journal = Journal(str(folder))
    for number, name in enumerate(("fix the clock", "sweep the floor")):
        at = clock.now_ns() + number
        id = clock.new_id(at)
        texts = [f"please {name}", "look at the wheels", "oil the chain"]
        bodies = [encode.dumps({"params": {"text": text}}).decode() for text in texts]
        journal.add([rows.make("session", id, id=id, at_ns=at, name=name, body="{}")])
        journal.add(rows.make("action", id, id=clock.new_id(at), at_ns=at, name="say", body=body) for body in bodies)
    journal.fold()
    journal.close()
    with serving(folder.parent) as link, visiting(chromium, link) as visit:
        yield visit


def test_a_name_that_stands_in_an_event_leads_to_the_whole_run(clocks: Visit) -> None:
    """The run was searched for; the passage below leads to the event, with the search as the filter."""
    page = clocks.open("/?text=fix*+clock*")
    settled(clocks, 1)
    passage = page.locator("#rows a.found")
    expect(passage).to_contain_text("please fix the clock")
    assert "text=" in str(passage.get_attribute("href"))
    page.locator("#rows .title").click()
    page.wait_for_url("**/s/*")
    clocks.until("performance.getEntriesByName('localops-whole').length > 0")
    assert "text=" not in page.url
    assert page.locator("#hidden-events").is_hidden()
    # Words of an event alone go on to be the filter.
    page = clocks.open("/?text=whee*")
    settled(clocks, 2)
    page.locator("#rows a.found").first.wait_for()
    page.locator("#rows .title").first.click()
    page.wait_for_url("**/s/*?text=whee*")


def test_a_search_repeats_nothing_that_a_row_shows(clocks: Visit) -> None:
    """Name and tags are marked where they stand, the tag found or filtered by first; a host is named as such."""
    page = clocks.open("/?text=sweep")
    draw = """async ([text, place, ...tag]) => {
      const { row } = await import("/web/row.js");
      const one = { session_id: "1", name: "night watch", tags: ["tutor", "user=mara"], state: "Success",
                    host: "support-2", scores: [], began: "2026-01-01T00:00:00Z", last: "2026-01-01T00:00:00Z" };
      const drawn = row(one, { query: { text: [text], tag }, columns: [], place });
      return [drawn.querySelector(".tag").textContent, drawn.querySelector(".found")?.textContent ?? null];
    }"""
    own = {"kind": "session", "name": "night watch", "seq": None, "text": "night watch tutor user=mara support-2"}
    event = {"kind": "action", "name": "look", "seq": 4, "text": "Mara is here"}
    assert page.evaluate(draw, ["night", own]) == ["tutor", None]
    assert page.evaluate(draw, ["watch mara", own]) == ["user=mara", None]
    assert page.evaluate(draw, ["night support-2", own]) == ["tutor", "host: support-2"]
    other = {**own, "text": "night watch Linux"}
    assert page.evaluate(draw, ["Linux", other]) == ["tutor", "session: night watch Linux"]
    assert page.evaluate(draw, ["mara", event]) == ["user=mara", "action look: Mara is here"]
    for tag in ("user=mara", "user=*"):
        assert page.evaluate(draw, ["night", own, tag]) == ["user=mara", None]


def test_a_search_of_the_address_that_is_in_no_event_hides_none(clocks: Visit) -> None:
    """It is dropped, with a message; one that is typed into the field stays."""
    session = clocks.facts("sessions")["sessions"][0]["session_id"]
    page = clocks.open(f"/s/{session}?text=unheard")
    expect(page.locator("#toast")).to_have_text("“unheard” is in no event: all are shown")
    expect(page.locator("#hidden-events")).to_be_hidden()
    assert page.get_by_label("Filter events").input_value() == ""
    assert "text=" not in page.url


@pytest.mark.parametrize("pressed", [True, False])
def test_a_click_meets_what_was_there_to_see(clocks: Visit, pressed: bool) -> None:
    """Rows that a search replaces look old, stay while a button is down, and count for a click a moment later."""
    page = clocks.open("/")
    settled(clocks, 2)
    first = page.locator("#rows .title").first
    aimed = str(first.get_attribute("href"))
    held: list[Route] = []
    page.route("**/api/1/sessions?*text=clock*", lambda route: held.append(route))
    page.locator("#filters input").first.fill("clock")
    expect(page.locator("#sessions")).to_have_attribute("aria-busy", "true")
    expect(page.locator(".loading")).to_be_visible()
    waiting = first_of(held, page)
    box: Any = first.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    if pressed:
        page.mouse.down()
        waiting.continue_()
        page.wait_for_timeout(500)
        expect(first).to_have_text("sweep the floor")
        page.mouse.up()
    else:
        page.evaluate(_CLICK_ONCE_REPLACED, [box["x"] + 4, box["y"] + 4])
        waiting.continue_()
    page.wait_for_url(f"**{aimed}")
    page.unroute_all()


# As a hand does that had begun to move: a click on the place, as soon as it has another row.
_CLICK_ONCE_REPLACED = """([x, y]) => {
  const watch = new MutationObserver(() => {
    if (!document.elementFromPoint(x, y).matches("a.title")) return;
    watch.disconnect();
    setTimeout(() => document.elementFromPoint(x, y)
      .dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, detail: 1 })), 50);
  });
  watch.observe(document.getElementById("rows"), { childList: true });
}"""


def test_what_is_typed_after_a_slash_reaches_the_field(visit: Visit) -> None:
    """Also before any module of the page runs, and while the field is not there yet; no key is a shortcut then."""
    page = visit.page
    held: list[Route] = []
    page.route("**/sessions.bundle.js", lambda route: held.append(route))
    page.goto(visit.base + "/", wait_until="commit")
    visit.until("document.querySelector('#filters') !== null")
    page.keyboard.type("/txs")
    page.keyboard.press("Backspace")
    visit.page.wait_for_timeout(100)
    first_of(held, page).continue_()
    page.unroute_all()
    field = page.locator("#filters input").first
    expect(field).to_have_value("tx")
    expect(field).to_be_focused()
    page.wait_for_url("**/?text=tx*")
    assert page.evaluate("document.documentElement.dataset.theme") is None
    # The filter of a session is not shown beside its figures, which are of all events.
    page = visit.session("night", "figures")
    page.keyboard.type("/fox1")
    expect(page.get_by_label("Filter events")).to_have_value("fox1")
    expect(page.locator("#tab-events")).to_have_attribute("aria-selected", "true")


def test_what_is_typed_into_an_open_menu_is_for_its_field(visit: Visit) -> None:
    """From the first key on, before the browser has moved the focus; it starts no shortcut."""
    page = visit.open("/")
    settled(visit, 4)
    tags = page.locator("#filters summary", has_text="Tag")
    tags.wait_for()
    tags.focus()
    page.evaluate("addEventListener('toggle', event => event.stopImmediatePropagation(), {capture: true})")
    page.keyboard.press("Enter")
    page.keyboard.type("tnig")
    expect(page.get_by_label("Find tag")).to_have_value("tnig")
    assert page.evaluate("document.documentElement.dataset.theme") is None


def test_a_view_says_that_the_filter_hides_events(visit: Visit) -> None:
    """All views do, in words; their button shows everything again."""
    page = visit.session("night", "timeline")
    for view in ("timeline", "tree", "events", "chat"):
        page.locator(f"#tab-{view}").click()
        assert page.locator("#hidden-events").is_hidden(), view
        page.get_by_label("Filter events").fill("gpt-4o")
        words = page.locator("#hidden-events span")
        # The timeline shows them in pale colours.
        verb = "dims" if view == "timeline" else "hides"
        expect(words).to_have_text(re.compile(rf"^The filter {verb} \d+ of \d+ events\.$"))
        page.get_by_label("Filter events").fill("no such word")
        expect(words).to_have_text(re.compile(rf"^The filter {verb} all \d+ events\.$"))
        if view == "chat":
            page.get_by_text("No call matches the filter").wait_for()
        page.get_by_role("button", name="Clear the filter").click()
        expect(page.locator("#hidden-events")).to_be_hidden()
        assert page.get_by_label("Filter events").input_value() == "", view
        assert "text=" not in page.url


def test_a_search_in_progress_is_shown(visit: Visit) -> None:
    """Until all is searched, no view says that nothing matches."""
    page = visit.session("night", "chat")
    page.locator(".turn").first.wait_for()
    held: list[Route] = []
    page.route("**/matches?*", lambda route: held.append(route))
    page.get_by_label("Filter events").fill("no such word")
    expect(page.locator(".pane > .bar .faint")).to_have_text("0 turns so far, searching …")
    expect(page.locator("#hidden-events span")).to_have_text("Searching the content: 0 events so far …")
    expect(page.locator(".talk .empty")).to_have_text("Searching the content …")
    first_of(held, page).continue_()
    page.unroute("**/matches?*")
    expect(page.locator(".talk .empty")).to_have_text("No call matches the filter")
    expect(page.locator(".pane > .bar .faint")).to_have_text("0 turns")


def test_a_turn_keeps_its_number(visit: Visit) -> None:
    """A filter does not change it."""
    page = visit.session("night", "chat")
    numbers = page.locator(".turn .number")
    numbers.first.wait_for()
    every = numbers.all_inner_texts()
    assert every == [f"turn {at + 1}" for at in range(len(every))]
    page.get_by_label("Filter events").fill("look up")
    expect(page.locator("#hidden-events")).to_contain_text("The filter hides")
    kept = numbers.all_text_contents()  # they may still be hidden until the turns in sight are there
    assert set(kept) < set(every)
    assert kept != every[: len(kept)]
    # The words of an error find the call that failed with it, too; what is no turn is counted.
    field = page.get_by_label("Filter events")
    field.fill("no such animal")
    failed = page.locator(".turn header .kind")
    expect(failed).to_have_text(["look up", "LookupError"])
    hidden = page.locator("#hidden-events span")
    words = hidden.text_content()
    page.locator("#tab-events").click()
    expect(page.locator(".events .row .what")).to_contain_text(["look up", "LookupError"])
    expect(hidden).to_have_text(str(words))
    field.fill("scout")
    expect(page.locator(".events .row")).to_have_count(6)
    page.locator("#tab-chat").click()
    expect(page.locator(".pane > .bar .faint")).to_have_text("5 turns; 1 other event matches")


@pytest.mark.parametrize("view", ["tree", "events", "chat"])
def test_an_event_of_a_link_is_shown_whatever_the_filter_is(visit: Visit, view: str) -> None:
    """Its row is there, as the current one, until the filter changes."""
    page = visit.session("night", view)
    current = page.locator(".turn.current, .row.current")
    field = page.get_by_label("Filter events")
    field.fill("claude")
    expect(page.locator("#hidden-events")).to_contain_text("The filter hides")
    expect(page.locator(".turn, .row", has_text="unicorn")).to_have_count(0)
    field.blur()
    page.keyboard.press("e")
    expect(current).to_contain_text("look up")
    # As a link, which is followed from elsewhere.
    address = page.url
    assert "event=" in address
    assert "text=claude" in address
    visit.leave()
    page.goto(address)
    expect(current).to_contain_text("look up")
    field.fill("claud")
    expect(page.locator(".turn, .row", has_text="look up")).to_have_count(0)


_MESSAGES = [
    {"role": "system", "content": "You count birds."},
    {"role": "user", "content": "The first wood has a nuthatch."},
    {"role": "assistant", "content": "Noted."},
]


# Values that are not drawn as a whole at first, by a word in the part that is missing.
_LONG: dict[str, Any] = {
    "osprey": "\n\n".join(f"{'A plain line of text. ' * 12}{'osprey dives' * (n == 50)}" for n in range(60)),
    "merlin": "word " * 6_000 + "merlin dives",
    "kestrel": {"a": {"b": {"c": {"d": {"e": ["kestrel dives"]}}}}, "z": 1},
    "hobby": [[f"row {n}", {"in": n}] if n != 350 else ["hobby dives", {"in": n}] for n in range(400)],
    "sparrow": [{"row": n, "text": "sparrow dives" if n == 350 else "x"} for n in range(400)],
    "harrier": {"text": "word " * 400 + "harrier dives", "list": [1, [2]]},
}


@pytest.fixture(scope="module")
def birds(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """A visit to a home with a run whose prompts repeat earlier messages."""
    folder = tmp_path_factory.mktemp("birds") / "home" / "default"
    journal = Journal(str(folder))
    at = clock.now_ns()
    id = clock.new_id(at)
    journal.add([rows.make("session", id, id=id, at_ns=at, name="birds", body="{}")])
    for number, prompt in enumerate(
        (_MESSAGES[:2], [*_MESSAGES, {"role": "user", "content": "\n\n".join("a line" * 40) + " wren sings to a fox"}])
    ):
        body = encode.dumps({"prompt": prompt, "completion": "One.", "secret_name": "goldcrest" if number else "x"})
        journal.add([rows.make("llm", id, id=clock.new_id(at), at_ns=at + number, model="counter", body=body.decode())])
    id = clock.new_id(at - 1)
    journal.add([rows.make("session", id, id=id, at_ns=at - 1, name="long values", body="{}")])
    for value in _LONG.values():
        body = encode.dumps({"prompt": "Go.", "completion": value} if isinstance(value, str) else {"returns": value})
        kind = "llm" if isinstance(value, str) else "tool"
        journal.add([rows.make(kind, id, id=clock.new_id(at - 1), at_ns=at - 1, name=kind, body=body.decode())])
    journal.fold()
    journal.close()
    with serving(folder.parent) as link, visiting(chromium, link) as visit:
        yield visit


def test_what_a_filter_finds_in_a_turn_is_in_sight(birds: Visit) -> None:
    """Below the end of a long text, in a fold if it is nowhere else, or the page says that it is not shown."""
    page = birds.session("birds", "chat")
    field = page.get_by_label("Filter events")
    earlier = page.locator(".turn .earlier")
    earlier.wait_for()
    expect(earlier.locator(".message")).to_have_count(0)  # drawn when it is opened
    # Of another turn, which is the first with these words.
    field.fill("noted")
    expect(earlier.locator("summary")).to_have_text(
        "3 earlier messages: system, user, assistant; 1 message with the words of the filter"
    )
    expect(page.locator(".turn")).to_have_count(1)
    expect(earlier.get_by_text("Noted.")).to_be_visible()
    expect(earlier.get_by_text("You count birds.")).to_be_hidden()
    earlier.locator("summary").click()
    expect(earlier.get_by_text("You count birds.")).to_be_visible()
    field.fill("wren")
    expect(page.locator(".turn")).to_have_count(1)
    expect(page.locator(".clip.whole")).to_have_count(1)
    expect(page.locator(".turn .earlier[open]")).to_have_count(0)
    page.locator(".turn .earlier summary").click()
    expect(earlier.get_by_text("You count birds.")).to_be_visible()
    field.fill("goldcrest")
    expect(page.locator(".turn .elsewhere")).to_have_text("found in what is not shown here")


@pytest.mark.parametrize("word", list(_LONG))
def test_what_a_search_found_in_a_long_value_is_drawn_and_in_sight(birds: Visit, word: str) -> None:
    """Of a long text or list, in a deep fold: the page draws the part with the words, and scrolls to it."""
    session = birds.facts("sessions?name=long+values")["sessions"][0]["session_id"]
    place = birds.facts(f"snippets?text={word}&sessions={session}")["snippets"][session]
    in_sight = """(() => {
        const [hit] = CSS.highlights.get("match") ?? [];
        const place = hit?.getBoundingClientRect(), box = document.querySelector("BOX").getBoundingClientRect();
        if (!hit || !String(hit).includes("dives") || !place.height) return false;
        return place.top >= box.top && place.bottom <= box.bottom;
    })()"""
    at = f"?event={place['seq']}&text={word}+dives"
    birds.open(f"/s/{session}{at}")
    birds.until(in_sight.replace("BOX", "#details"))
    if word == "osprey":
        birds.leave()
        page = birds.open(f"/s/{session}{at}#chat")
        page.locator(".turn .body:not(.faint)").first.wait_for()
        birds.until("document.querySelector('.turn')?.innerText.includes('osprey dives')")
        birds.until(in_sight.replace("BOX", "#view"))


def test_a_filter_of_a_conversation_finds_what_is_new_in_a_turn(birds: Visit) -> None:
    """Later prompts repeat it: all views leave these calls out, with a sentence, until they are asked for."""
    page = birds.session("birds", "chat")
    page.get_by_label("Filter events").fill("nuthatch")
    turns = page.locator(".turn")
    hidden = page.locator("#hidden-events")
    sentence = "The filter hides 1 of 2 events. 1 of them only repeats words of an earlier call in its prompt."
    expect(hidden.locator("span")).to_have_text(sentence)
    expect(turns.locator(".number")).to_have_text(["turn 1"])
    page.locator("#tab-events").click()
    expect(page.locator(".events .row")).to_have_count(1)
    expect(hidden.locator("span")).to_have_text(sentence)
    hidden.get_by_role("button", name="Show it").click()
    expect(hidden.locator("span")).to_have_text("The filter hides none of 2 events.")
    expect(page.locator(".events .row")).to_have_count(2)
    page.locator(".events .row").last.click()
    page.locator("#tab-chat").click()
    expect(turns).to_have_count(2)
    expect(page.locator(".turn.current .number")).to_have_text("turn 2")
    expect(turns.locator(".earlier[open]")).to_have_count(0)


def test_a_search_in_the_list_leads_to_the_first_event_with_its_words(birds: Visit) -> None:
    """The prompts of later calls only repeat them."""
    page = birds.open("/?text=nuthatch*")
    page.locator(".found").click()
    page.wait_for_url("**/s/*?event=*")
    expect(page.locator("#details")).to_contain_text("The first wood has a nuthatch.")
    events = birds.facts(f"sessions/{birds.facts('sessions')['sessions'][0]['session_id']}/events")["events"]
    assert f"event={min(one['seq'] for one in events if one['kind'] == 'llm')}&" in page.url


def test_a_phrase_from_the_palette_is_marked_and_in_sight(birds: Visit) -> None:
    """Where its words are adjacent, and no other "a" and "to": in the details and in the turn."""
    page = birds.open("/")
    page.keyboard.press("Control+k")
    page.locator("#palette input").fill("wren sings to a")
    page.get_by_role("option").filter(has_text="birds").click()
    page.wait_for_url("**/s/*?event=*&text=wren*")
    marks = "[...(CSS.highlights.get('match') || [])]"
    for box in ("#details", ".talk"):
        inside = f"{marks}.find((one) => document.querySelector('{box}')?.contains(one.startContainer))"
        birds.until(f"`${{{inside}}}` === 'wren sings to a'")
        place = f"{inside}.getBoundingClientRect()"
        birds.until(f"{place}.bottom < innerHeight && {place}.top > 0")
        page.locator("#tab-chat").click()
    assert page.evaluate(f"new Set({marks}.map(String)).size") == 1


def test_the_palette_finds_what_was_copied(visit: Visit) -> None:
    """Ids of sessions and events, also among words, lead there; hosts and classes of errors are filters."""
    session = visit.facts("sessions?tag=forest")["sessions"][0]
    ident = session["session_id"]
    failed = visit.facts("calls?failed=1&limit=1")["calls"][0]
    events = visit.facts(f"sessions/{failed['session_id']}/events")["events"]
    error = next(one for one in events if one["kind"] == "error")
    at = f"**/s/{failed['session_id']}?event="
    # Each from the page that the one before led to; there, a filter would be one more.
    page = visit.open("/compare")
    for text, label, url in (
        (ident, session["name"] or "unnamed", f"**/s/{ident}"),
        (failed["id"], f"{failed['tool']} in {failed['session_name']}", f"{at}*"),
        (f"localops show {ident[:13]}", session["name"] or "unnamed", f"**/s/{ident}"),
        (f"event {error['id']} failed", f"{error['name']} in {failed['session_name']}", f"{at}{error['seq']}*"),
        # On the page of its session, an event has its number.
        (f"event {error['seq']:,}", f"Event {error['seq']}: {error['name']}", f"{at}{error['seq']}*"),
        (session["host"], session["host"], f"**/?host={session['host']}"),
        (error["name"], error["name"], f"**/?error={error['name']}"),
        (failed["id"][:23], f"Calls with “{failed['id'][:23]}”", "**/calls?text=*"),
    ):
        if "?host" in page.url:
            visit.open("/compare")
        page.keyboard.press("Control+k")
        page.locator("#palette input").fill(text)
        page.get_by_role("option").filter(has=page.get_by_text(label, exact=True)).first.click()
        page.wait_for_url(url)
    expect(page.locator("#rows .what .name")).to_have_text([failed["tool"]])
