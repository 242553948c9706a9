"""Sessions side by side: what differs in their texts, and which of them has which letter."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import Visit, recorded, serving


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a home with three runs of one program, and one that calls a tool very often."""
    home = tmp_path_factory.mktemp("compare") / "home"
    recorded(home, "reworded")
    recorded(home, "circling")
    recorded(home, "swapped")
    recorded(home, "dead")
    recorded(home, "refused")
    recorded(home, "overspent")
    recorded(home, "pictured")
    with serving(home) as link:
        yield link


def _ids(visit: Visit) -> list[str]:
    """Return the sessions in the order of their start."""
    sessions = visit.facts("sessions?tag=reworded")["sessions"]
    return [one["session_id"] for one in sorted(sessions, key=lambda one: one["name"])]


def _opened(visit: Visit, name: str) -> Page:
    """Open the comparison of the first two runs, and the texts of an event."""
    one, other = _ids(visit)[:2]
    page = visit.open(f"/compare?a={one}&b={other}")
    _open(page, name)
    return page


def _open(page: Page, name: str) -> None:
    """Open the texts of an event."""
    page.locator(".pairs button.link", has_text=name).first.click()


CHANGES = [
    (
        '{"stop":["a"],"n":1}',
        '{"stop":["a##"],"n":1}',
        [["same", '{"stop":["a'], ["ins", "##"], ["same", '"],"n":1}']],
    ),
    (
        "Rule 1. Restate the whole ticket in your own words. Then stop.",
        "Rule 1. Answer with the name of the category alone. Then stop.",
        [
            ["same", "Rule 1. "],
            ["del", "Restate the whole ticket in your own words"],
            ["ins", "Answer with the name of the category alone"],
            ["same", ". Then stop."],
        ],
    ),
    (
        "my red house is big",
        "my old house is small",
        [
            ["same", "my "],
            ["del", "red"],
            ["ins", "old"],
            ["same", " house is "],
            ["del", "big"],
            ["ins", "small"],
        ],
    ),
    ("a", "a", [["same", "a"]]),
    ("", "a b", [["ins", "a b"]]),
]


def test_changes_are_marked_in_runs_of_words(visit: Visit) -> None:
    """What is removed is shown first, then what is added; the words of two sentences are not mixed."""
    script = """([one, other]) => import("/web/words.js").then((words) => words.difference(one, other))"""
    page = visit.open("/login")
    for one, other, pieces in CHANGES:
        assert page.evaluate(script, [one, other]) == pieces


def test_only_the_changed_words_of_a_long_text_are_marked(visit: Visit) -> None:
    """Where changes are far apart, in lines that repeat, and in every line of a very long text."""
    script = """async ([one, other]) => (await import("/web/words.js")).difference(one, other)
                  .filter(([kind]) => kind !== "same")"""
    page = visit.open("/login")
    line = "You answer with the name of a category, and nothing else. "
    one = f"Monday. {line * 400}Bye"
    other = f"Sunday. {line * 200}Be brief. {line * 200}Go"
    assert page.evaluate(script, [one, other]) == [
        ["del", "Monday"],
        ["ins", "Sunday"],
        ["ins", "Be brief. "],
        ["del", "Bye"],
        ["ins", "Go"],
    ]
    rules = [f"Rule {number}: keep the words." for number in range(2_000)]
    reworded = [each.replace("words", f"rhymes{at}") for at, each in enumerate(rules)]
    changes = page.evaluate(script, ["\n".join(rules), "\n".join(reworded)])
    assert changes == [pair for at in range(2_000) for pair in (["del", "words"], ["ins", f"rhymes{at}"])]


def test_a_long_passage_without_changes_is_folded(visit: Visit) -> None:
    """What is next to a change stays; line breaks of a text are line breaks; the columns stay where they are."""
    one, other = _ids(visit)[:2]
    page = visit.open(f"/compare?a={one}&b={other}")
    row = page.locator(".pairs button.link", has_text="gpt-4o")
    script = "[...document.querySelectorAll('.pairs th')].map(each => each.getBoundingClientRect().x)"
    row.wait_for()
    columns = page.evaluate(script)
    row.click()
    text = page.locator(".pairs pre").first
    fold = text.get_by_role("button", name="characters are the same")
    expect(text.locator("del").first).to_have_text("Restate the whole ticket in your own words")
    expect(text.locator("ins").first).to_have_text("Answer with the name of the category")
    assert page.evaluate(script) == columns
    shown = text.inner_text()
    assert ("\nRule 0. Keep the words" in shown, "Rule 20." in shown, "\nRule 39." in shown) == (True, False, True)
    fold.click()
    expect(text).to_contain_text("Rule 20. Keep the words of a ticket as they are.\nRule 21.")
    assert "\\n" not in text.inner_text()


def test_the_sentence_that_differs_stands_above_a_long_text(visit: Visit) -> None:
    """In its old and its new form, complete, with the differing words marked."""
    page = _opened(visit, "gpt-4o")
    changed = page.locator(".changed").first
    expect(changed.locator("h4")).to_have_text("2 sentences differ")
    first = changed.locator("div").first.locator("p")
    expect(first).to_have_text(
        ["A Restate the whole ticket in your own words.", "B Answer with the name of the category."]
    )
    expect(first.locator("mark")).to_have_text(
        ["Restate the whole ticket in your own words", "Answer with the name of the category"]
    )
    script = "async (texts) => { const m = await import('/web/words.js'); return m.sentences(m.difference(...texts)); }"
    assert page.evaluate(script, ["Be kind. Speak low. Go.", "Be kind. Speak up now. Go."]) == [
        [["same", "Speak "], ["del", "low"], ["ins", "up now"], ["same", ". "]]
    ]
    assert page.evaluate(script, ["One. Two", "One. Two three"]) == [[["same", "Two"], ["ins", " three"]]]
    assert page.evaluate(script, ["same", "same"]) == []


def test_prompts_are_compared_as_messages_with_their_pictures(visit: Visit) -> None:
    """The words that differ are marked, of three runs too; pictures are beside each other, not in the text."""
    ids = [run["session_id"] for run in visit.facts("sessions?tag=pictured&sort=name&order=asc")["sessions"]]
    text = visit.page.locator(".pairs pre")
    pictures = visit.page.locator(".pairs .media-beside > div")
    page = visit.open(f"/compare?a={ids[0]}&b={ids[1]}")
    _open(page, "gpt-4o")
    expect(text).to_have_text(
        re.compile(r"system:\s+Look well.\s+user:\s+What is on the left\?\s+\[data 12: image/png, 0.1 kB\]")
    )
    expect(pictures.locator("h3")).to_have_text(["A", "B"])
    expect(pictures.locator("img")).to_have_count(2)
    page = visit.open(f"/compare?a={ids[0]}&b={ids[1]}&also={ids[2]}")
    _open(page, "gpt-4o")
    expect(page.locator(".of-run > h3")).to_have_text(["B beside A", "C beside A"])
    expect(page.locator(".of-run").last.locator("del, ins")).to_have_text(["left", "right", "1", "2"])
    expect(pictures.locator("img")).to_have_count(4)
    expect(page.locator(".of-run").last.locator("h2", has_text="Answer")).to_have_text("Answer the same in A and C")


def test_a_call_that_failed_in_one_run_shows_its_error(visit: Visit) -> None:
    """Beside the output of the other run."""
    page = _opened(visit, "route")
    expect(page.locator(".pairs h3", has_text="error in B")).to_be_visible()
    expect(page.locator(".pairs pre.failed")).to_have_text("TimeoutError: no reply from the queue")
    expect(page.locator(".pairs h3", has_text="error in A")).to_have_count(0)
    expect(page.locator(".pairs del")).to_contain_text(["queued"])


def _letters(visit: Visit) -> list[str]:
    return visit.page.locator("#compare .two h2").all_inner_texts()


def test_two_runs_ticked_in_the_list_are_in_the_order_of_their_start(visit: Visit) -> None:
    """Also when the newer one is ticked first, or the list begins with the oldest."""
    for order in ("desc", "asc"):
        page = visit.open(f"/?tag=reworded&sort=began&order={order}")
        boxes = page.locator("#rows .pick input")
        expect(boxes).to_have_count(3)
        for at in (0, 2):
            boxes.nth(at).check()
        picked = page.locator("#compare-bar li")
        expect(picked).to_have_text([re.compile("^A reworded 0 .*, the older$"), re.compile("^B reworded 2 ")])
        # A long name is cut, and not the time, which tells runs of one name apart.
        picked.locator(".named").first.evaluate("name => name.textContent = 'x'.repeat(300)")
        assert picked.first.evaluate("entry => entry.scrollWidth <= entry.clientWidth")
        page.locator("#compare-bar a").click()
        expect(page.locator("#compare .two h2")).to_have_text(["A: reworded 0", "B: reworded 2"])


def test_a_few_sessions_that_filters_leave_are_compared_by_one_link(visit: Visit) -> None:
    """In the order of their start, whatever the order of the list; without a filter, nothing says which are meant."""
    page = visit.open("/?tag=reworded")
    page.get_by_role("link", name="Compare all").click()
    expect(page.locator("#compare .several th a")).to_have_text(["reworded 0", "reworded 1", "reworded 2"])
    page = visit.open("/")
    page.locator("#rows tr").first.wait_for()
    assert page.locator("#more a").count() == 0


def test_shift_ticks_all_between_and_two_runs_begin_with_their_summary(visit: Visit) -> None:
    """Three runs are compared with two clicks and a button, and what changed is read without another."""
    page = visit.open("/?tag=reworded")
    boxes = page.locator("#rows .pick input")
    expect(boxes).to_have_count(3)
    boxes.first.click()
    boxes.last.click(modifiers=["Shift"])
    expect(page.locator("#compare-bar li")).to_have_count(3)
    assert boxes.evaluate_all("boxes => boxes.every(box => box.checked)")
    boxes.nth(1).click(modifiers=["Shift"])
    expect(page.locator("#compare-bar")).to_contain_text("Choose one more")
    boxes.last.click(modifiers=["Shift"])
    page.locator("#compare-bar a").click()
    expect(page.locator("#compare .several th a")).to_have_text(["reworded 0", "reworded 1", "reworded 2"])
    page.get_by_role("link", name="A and C").click()
    summary = page.locator("#compare .odd-one")
    expect(summary.locator("h2")).to_have_text("C differs from A in 3 of 4 events")
    expect(summary.locator("li").nth(1).locator("p")).to_have_text(["A run=0", "C run=2"])
    # How many differ is in one place; beside the events is what is no difference of its own.
    expect(page.locator(".pairs .bar").first).to_contain_text(re.compile(r"Difference in cost [+−]\$0\.\d+"))
    expect(page.locator(".pairs .bar").first).not_to_contain_text("of 4 events")
    # Nothing is open, and what is opened does not scroll by itself.
    expect(page.locator(".pairs button[aria-expanded=false]").first).to_be_visible()
    expect(page.locator(".pairs button[aria-expanded=true]")).to_have_count(0)
    _open(page, "gpt-4o")
    expect(page.locator(".pairs ins").first).to_be_visible()
    assert page.locator(".pairs pre").evaluate_all("all => all.every(one => one.scrollHeight <= one.clientHeight)")


def test_what_changed_the_cost_most_comes_first(visit: Visit) -> None:
    """Calls that only one run has are one entry with their sum; the largest change is the first, in both directions."""
    sessions = {one["name"]: one["session_id"] for one in visit.facts("sessions?tag=overspent")["sessions"]}
    page = visit.open(f"/compare?a={sessions['overspent 0']}&b={sessions['overspent 1']}")
    first, second = (page.locator(".odd-one li").nth(at) for at in range(2))
    expect(first).to_have_text(re.compile(r"gpt-4o −\$1\.\d+A 8 calls of gpt-4o only in A\s*$"))
    expect(second).to_have_text(re.compile(r"gpt-4o → o3-mini \+\$0\.\d+A gpt-4o\s*B o3-mini\s*$"))
    expect(page.locator(".odd-one li")).to_have_count(6)
    expect(page.locator(".odd-one > p")).to_have_text("5 more events differ: see Events below")


def test_three_runs_are_in_one_table_below_what_tells_them_apart(visit: Visit) -> None:
    """A sentence names the run that differs most; a cell that differs from most others is marked, and opens."""
    one, two, three = _ids(visit)
    page = visit.open(f"/compare?a={one}&b={two}&also={three}")
    head = page.locator(".odd-one")
    expect(head.locator("h2")).to_have_text("No run stands out: 3 of 4 events differ")
    entries = head.locator("li")
    expect(entries).to_contain_text(["gpt-4o", "tool route", "tool look_up"])
    route = entries.nth(1).locator("p")
    expect(route).to_have_text(["A run=0", "B run=1", "C run=2"])
    expect(entries.nth(2).locator("p")).to_have_text(["A, B not there", re.compile("^C file=tariffs.md")])
    rows = page.locator(".all-runs tbody tr:not([hidden])")
    expect(rows).to_have_count(4)
    cells = rows.filter(has_text="look_up").locator("td:not(.what)")
    assert cells.evaluate_all("cells => cells.map(cell => cell.className)") == ["", "", "differs"]
    expect(cells.nth(0)).to_have_text("–")
    routes = rows.filter(has_text="route").locator("td:not(.what)")
    assert routes.evaluate_all("cells => cells.map(cell => cell.className)") == ["differs"] * 3
    failed = rows.filter(has_text="route").locator("td").nth(2)
    expect(failed.locator(".tag")).to_have_text("failed")
    button = rows.get_by_role("button", name="LLM gpt-4o")
    button.focus()
    page.keyboard.press("Enter")
    inside = page.locator(".all-runs .of-run")
    expect(inside.locator("> h3")).to_have_text(["B beside A", "C beside A"])
    expect(inside.last.locator("pre").first).to_contain_text("user:")
    page.keyboard.press("d")
    expect(rows.filter(has_text="fetch")).to_have_count(0)
    assert "only=differences" in page.url
    assert visit.unusable_anywhere() == []


def test_runs_of_one_name_show_when_they_began(visit: Visit) -> None:
    """Below the name, in the head of each column."""
    one, two, three = _ids(visit)
    page = visit.open(f"/compare?a={one}&b={two}&also={three}")
    began = visit.facts(f"sessions/{three}")["began"][:19].replace("T", " ")
    expect(page.locator(".several th small").last).to_have_text(began)


def test_the_duration_of_a_dead_run_is_a_lower_bound(visit: Visit) -> None:
    """As in the list, on its page and in `localops diff`; the difference is of what is known."""
    dead = visit.facts("sessions?tag=dead")["sessions"][0]["session_id"]
    first, second = _ids(visit)[:2]
    for also in ("", f"&also={second}"):
        page = visit.open(f"/compare?a={dead}&b={first}{also}")
        row = page.locator("tr", has=page.get_by_role("rowheader", name="Duration"))
        cells = row.locator("td")
        expect(cells.first).to_have_text(re.compile("^at least "))
        expect(cells.nth(1)).not_to_contain_text("at least")


def test_a_run_keeps_its_letter(visit: Visit) -> None:
    """Where the first one is shown beside another one alone, also after they were swapped."""
    one, two, three = _ids(visit)
    page = visit.open(f"/compare?a={one}&b={two}&also={three}")
    heads = page.locator(".pairs th")
    expect(heads).to_have_text(["Event", "A", "B", "C"])
    views = page.locator(".views a")
    expect(views).to_have_text(["All runs", "A and B", "A and C", "B and C"])
    page.get_by_role("link", name="A and C").click()
    expect(heads.nth(2)).to_have_text("C duration")
    expect(page.locator(".views [aria-current]")).to_have_text("A and C")
    assert _letters(visit) == ["A: reworded 0", "C: reworded 2"]
    _open(page, "gpt-4o")
    expect(page.locator(".pairs ins").first).to_have_text("Be kind")
    page.get_by_role("link", name="B and C").click()
    expect(page.locator(".views [aria-current]")).to_have_text("B and C")
    expect(heads.nth(1)).to_have_text("B duration")
    assert _letters(visit) == ["B: reworded 1", "C: reworded 2"]
    page.get_by_role("link", name="A and B").click()
    expect(heads.nth(2)).to_have_text("B duration")
    expect(page.locator(".pairs .tag", has_text="failed in B")).to_be_visible()
    page.get_by_role("link", name="Swap A and B").press("Enter")
    expect(page.locator("#compare .two h2")).to_have_text(["A: reworded 1", "B: reworded 0"])
    expect(page.get_by_role("link", name="Swap A and B")).to_be_focused()
    page.get_by_role("link", name="All runs").click()
    expect(page.locator(".several th a")).to_have_text(["reworded 1", "reworded 0", "reworded 2"])


def test_each_event_says_what_it_was_given(visit: Visit) -> None:
    """Both runs, where they differ; an event that one run alone has opens in its place."""
    one, _, three = _ids(visit)
    page = visit.open(f"/compare?a={one}&b={three}")
    row = page.locator(".pairs tr", has_text="route")
    expect(row.locator(".preview")).to_have_text(["A run=0", "B run=2"])
    expect(page.locator(".pairs tr", has_text="fetch").locator(".preview")).to_have_count(1)
    alone = page.locator(".pairs tr", has_text="look_up")
    expect(alone.locator(".preview")).to_have_text("file=tariffs.md")
    expect(alone.locator(".tag")).to_have_text("only in B")
    alone.get_by_role("button").click()
    expect(page.locator(".pairs .message.result")).to_contain_text("the tariffs in tariffs.md")
    assert "/compare?" in page.url


def test_only_differences_is_kept_in_the_address(visit: Visit) -> None:
    """A reload and another pair keep it; without it the address is as before."""
    one, two, three = _ids(visit)
    page = visit.open(f"/compare?a={one}&b={two}&also={three}")
    only = page.get_by_label("only differences")
    names = page.locator(".pairs td.what")
    expect(names.filter(has_text="fetch")).to_have_count(1)
    only.check()
    page.reload()
    expect(only).to_be_checked()
    expect(names.filter(has_text="route")).to_have_count(1)
    expect(names.filter(has_text="fetch")).to_have_count(0)
    only.uncheck()
    only.check()
    page.get_by_role("link", name="A and C").click()
    expect(page.locator(".pairs th").nth(2)).to_have_text("C duration")
    expect(only).to_be_checked()
    only.uncheck()
    assert "only" not in page.url
    expect(names.filter(has_text="fetch")).to_have_count(1)


@pytest.mark.parametrize("visit", [(390, "light")], indirect=True)
def test_nothing_is_cut_off_on_a_phone(visit: Visit) -> None:
    """Every run has its figures, every event its differences, and the page of calls all of its views."""
    one, two, three = _ids(visit)
    outside = """([...document.querySelectorAll("#compare td, #compare th, #groupings a")]
        .filter(each => each.checkVisibility() && !each.closest("thead:not(.several thead)")
            && each.getBoundingClientRect().right > innerWidth - 8).map(each => each.textContent))"""
    for also in ("", f"&also={three}"):
        page = visit.open(f"/compare?a={one}&b={two}{also}")
        _open(page, "gpt-4o")
        page.locator(".pairs pre").first.wait_for()
        assert page.evaluate(outside) == []
    page = visit.open("/calls")
    page.locator("#groupings a").last.wait_for()
    assert page.evaluate(outside) == []


def test_runs_are_found_and_swapped(visit: Visit) -> None:
    """By a part of a name; what each difference costs is shown, and swapped with the runs."""
    page = visit.open("/compare")
    for letter, name in (("A", "rewor 0"), ("B", "rewor 1")):
        page.locator(".runs summary", has_text=f"{letter}:").click()
        page.get_by_label(f"Find run {letter}").fill(name)
        entry = page.locator(".menu[open] .choice")
        expect(entry).to_have_count(1)
        entry.click()
    # A name without room ends with an ellipsis, beside the arrow of the menu.
    button = page.locator(".runs summary").first
    button.evaluate("(summary) => summary.firstElementChild.append('x'.repeat(300))")
    assert button.evaluate("(summary) => summary.firstElementChild.scrollWidth > summary.clientWidth")
    assert button.evaluate("(summary) => summary.scrollWidth <= summary.clientWidth")
    page.locator("#compare-them").click()
    expect(page.locator("#compare .two h2")).to_have_text(["A: reworded 0", "B: reworded 1"])
    costs = page.locator(".pairs tr", has_text="gpt-4o").locator("td").nth(6)
    expect(costs).to_have_text(re.compile(r"^[+−]\$0\.\d+$"))
    before = costs.inner_text()
    page.get_by_role("link", name="Swap A and B").click()
    expect(page.locator("#compare .two h2")).to_have_text(["A: reworded 1", "B: reworded 0"])
    expect(costs).to_have_text(before.translate(str.maketrans("+−", "−+")))
    assert page.url.endswith(f"a={_ids(visit)[1]}&b={_ids(visit)[0]}")


def test_groups_of_runs_have_averages(visit: Visit) -> None:
    """Chosen by the filters of the list, which are in the address; swapped, a difference has the other sign."""
    page = visit.open("/compare?group_a=tag%3Dreworded&group_b=")
    expect(page.locator(".groups")).to_have_text("Choose a filter for each group.")
    page.locator(".group").last.locator("summary", has_text="State").click()
    page.locator(".menu[open] .choice", has_text="Failure").click()
    expect(page.locator(".group h2")).to_have_text(["A: 3 runs", "B: 1 run"])
    rows = page.locator(".groups tbody tr")
    shown = rows.filter(has_text="Tool calls").locator("td")
    expect(shown.first.locator("b")).to_have_text("2.33")
    expect(shown.last).to_have_text(re.compile(r"^\+398 \(×171\)"))
    figures = visit.facts("compare/groups?a=tag%3Dreworded&b=state%3DFailure")["figures"]
    spent = next(line for line in figures if line["name"] == "cost_usd")["a"]
    assert spent["low"] < spent["mean"] < spent["high"]
    expect(rows.filter(has_text="Cost").locator("small").first).to_have_text(re.compile(r"\(\$0\.\d+ … \$0\.\d+\)"))
    # All columns are in sight in a window of a tablet.
    visit.looks(768)
    assert page.locator(".groups .table-wrap").evaluate("each => each.scrollWidth - each.clientWidth") == 0
    visit.looks()
    page.get_by_role("button", name="Swap A and B").click()
    expect(shown.last).to_have_text(re.compile("^−398"))
    expect(page.locator(".group h2").last).to_have_text("B: 3 runs")
    page.go_back()
    expect(page.locator(".group h2").first).to_have_text("A: 3 runs")
    # A score has its difference, as a figure has.
    page = visit.open("/compare?group_a=name%3Doverspent+0&group_b=name%3Doverspent+1")
    expect(rows.filter(has_text="helpful").locator("td").last).to_have_text("+0.40 (+80%)")
    # Every state has its share if some runs neither succeeded nor failed.
    page = visit.open("/compare?group_a=tag%3Dreworded&group_b=tag%3Drefused")
    open_ended = rows.filter(has=page.get_by_role("rowheader", name="Indeterminate", exact=True))
    expect(open_ended.locator("td")).to_have_text(
        [re.compile(r"^0% of 3"), re.compile(r"^100% of 1"), re.compile(r"^\+100 points")]
    )
    expect(rows.get_by_role("rowheader", name="Success rate, without Indeterminate")).to_have_count(1)


def test_two_calls_of_a_run_differ_by_words(visit: Visit) -> None:
    """From a call to the one before it; another call is found by words in it."""
    calls = visit.facts("calls?tool=fetch&session=" + visit.facts("sessions?tag=loop")["sessions"][0]["session_id"])
    last = calls["calls"][0]
    page = visit.open(f"/s/{last['session_id']}?event={last['seq']}")
    page.locator("#details").get_by_role("link", name="Compare").click()
    page.wait_for_url("**/compare?session=*&call=*&with=*")
    text = page.locator(".text", has_text="Arguments")
    expect(text.locator("del, ins")).to_have_text(["6", "7"])
    page.get_by_role("link", name="Swap A and B").click()
    expect(text.locator("del, ins")).to_have_text(["7", "6"])
    page.locator("#compare summary", has_text="A:").click()
    page.get_by_label("Find call A").fill("page=6 fetch")
    page.locator(".menu[open] .choice").first.click()
    expect(text.locator("h2")).to_have_text("Arguments the same in A and B")


def test_a_run_is_not_compared_with_itself(visit: Visit) -> None:
    """The page says so, and lets another one be chosen; of three, the one that is named twice counts once."""
    one, other = (each["session_id"] for each in visit.facts("sessions?tag=swapped")["sessions"][::-1])
    page = visit.open(f"/compare?a={one}&b={one}")
    expect(page.get_by_role("status").locator("visible=true")).to_have_text("A and B are the same run: choose another.")
    expect(page.locator("#compare-them")).to_have_attribute("aria-disabled", "true")
    page = visit.open(f"/compare?a={one}&b={one}&also={other}")
    expect(page.locator("#compare > .bar")).to_contain_text("A run that was named twice is compared once")
    assert page.locator(".two code").all_inner_texts() == [one[:13], other[:13]]


def test_a_call_that_moved_is_in_one_line_with_its_place(visit: Visit) -> None:
    """And a call whose model stopped too early says so in the list of calls."""
    one, other = (each["session_id"] for each in visit.facts("sessions?tag=swapped")["sessions"][::-1])
    page = visit.open(f"/compare?a={one}&b={other}")
    row = page.locator(".pairs tbody tr", has_text="prices")
    expect(row.locator(".tag")).to_have_text("moved later")
    page = visit.open(f"/calls?session={one}&kind=llm")
    expect(page.locator("#rows tr .line")).to_contain_text("stopped: length")


def test_a_line_says_what_differs_in_it(visit: Visit) -> None:
    """Another model, a failure that one run alone has, and the part of an input that differs; runs have their ids."""
    ids = [each["session_id"] for each in visit.facts("sessions?tag=swapped")["sessions"][::-1]]
    page = visit.open(f"/compare?a={ids[0]}&b={ids[1]}")
    tags = page.locator(".pairs tbody tr", has_text="order").locator(".tag")
    expect(tags).to_have_text(["only in B", "failed"])
    expect(page.locator(".pairs tbody tr", has_text="o4 → o4-mini").locator(".tag")).to_have_text("model")
    previews = page.locator(".pairs tbody tr", has_text="publish").locator(".preview")
    expect(previews).to_have_text(["A …whole/year?week=0", "B …whole/year?week=1"])
    assert page.locator(".two code").all_inner_texts() == [each[:13] for each in ids]
