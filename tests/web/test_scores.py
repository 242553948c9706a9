"""Scores and notes on the page of a session, in a real browser: shown, given, and taken for what they are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, expect

import localops
from tests.web.conftest import recorded, serving, visiting


def test_a_session_is_judged_on_its_page(chromium: Browser, tmp_path: Path) -> None:
    """A score, a note and a star are given by the form; hostile words of theirs are text; nonsense is refused."""
    home = tmp_path / "home"
    recorded(home, "story")
    with serving(home) as link, visiting(chromium, link) as visit:
        visit.open("/").locator("#rows a").first.click()
        visit.page.locator("#about").click()
        fold = visit.page.locator("#scores")
        fold.locator("summary").click()
        fields = {name: fold.locator(f"input[name={name}]") for name in ("name", "value", "comment")}
        edges = [
            one.evaluate("each => [each.getBoundingClientRect().left, each.offsetWidth]") for one in fields.values()
        ]
        assert [round(after[0] - left - width) for (left, width), after in pairwise(edges)] == [8, 8]
        # One line of labels, above wide fields.
        label = fold.locator("label").first
        assert label.evaluate("each => each.offsetHeight") < 2 * fields["name"].evaluate("each => each.offsetHeight")
        assert edges[0][1] > 150
        wide = "each => [each.offsetWidth, each.closest('.inside').clientWidth]"
        visit.looks(390)
        for one in fields.values():
            own, around = one.evaluate(wide)
            assert own > around * 0.9
        visit.looks()
        give, star = fold.get_by_role("button", name="Add"), fold.get_by_role("button", name="Star")

        def judge(**words: str) -> None:
            for name, field in fields.items():
                field.fill(words.get(name, ""))
            give.click()

        judge(name="correct", value="0.8", comment="<img src=x onerror=window.hurt=1>")
        expect(fold.locator("summary")).to_have_text("Scores and notes: correct 0.8")
        expect(fold.locator("p").first).to_contain_text("<img src=x onerror=window.hurt=1>")
        judge(comment="look again")
        expect(fold.locator("p", has_text="Note by human")).to_contain_text("look again")
        star.click()
        expect(fold.locator("summary")).to_have_text("Scores and notes: correct 0.8, star true")
        star.click()
        expect(fold.locator("summary")).to_have_text("Scores and notes: correct 0.8")
        judge(name="cor<rect", value="1")
        expect(fold.get_by_role("alert")).to_contain_text("invalid score name")
        places = [fold.get_by_role("alert"), fold.locator("form")]
        message, form = (each.evaluate("each => each.getBoundingClientRect().toJSON()") for each in places)
        assert (message["left"], message["top"] >= form["bottom"]) == (form["left"], True)
        ident = visit.page.url.partition("/s/")[2].partition("#")[0].partition("?")[0]
        given = visit.facts(f"sessions/{ident}")["scores"]
        assert [(each["name"], each["value"], each["by"]) for each in given if each["counts"]] == [
            ("correct", 0.8, "human")
        ]
        assert visit.page.evaluate("window.hurt") is None
        # Chromium reports the answer that refused the name.
        visit.wrong[:] = [each for each in visit.wrong if "400 (Bad Request)" not in each]


def test_an_event_is_judged_in_its_details(chromium: Browser, tmp_path: Path) -> None:
    """Its scores and notes stand there, and on the session as those of an event; an empty value takes a score back."""
    home = tmp_path / "home"
    recorded(home, "story")
    with serving(home) as link, visiting(chromium, link) as visit:
        visit.open("/").locator("#rows a").first.click()
        visit.page.locator("#about").click()
        visit.page.goto(visit.page.url.partition("#")[0] + "#events")
        visit.page.locator(".events .row").first.click()
        judged = visit.page.locator("#details .judged")
        judged.locator("summary").click()
        add = judged.get_by_role("button", name="Add")

        def judge(**words: str) -> None:
            for name in ("name", "value", "comment"):
                judged.locator(f"input[name={name}]").fill(words.get(name, ""))
            add.click()

        judge(name="helpful")
        expect(judged.get_by_role("alert")).to_have_text("Enter a value: there is no score helpful to take back.")
        judge(name="helpful", value="true", comment="as asked")
        expect(judged.locator("div > p").first).to_contain_text("helpful true by human")
        judge(comment="look here")
        expect(judged.locator("p", has_text="Note by human")).to_contain_text("look here")
        expect(visit.page.locator("#scores p", has_text="helpful true")).to_contain_text("on an event: as asked")
        judge(name="helpful")
        expect(judged.locator("p.faint").first).to_contain_text("no longer counts")


def test_the_list_names_the_judges_where_there_are_several(chromium: Browser, tmp_path: Path) -> None:
    """Two numbers of one name are listed with their judges; a single one without."""
    home = tmp_path / "home"
    localops.init(home=str(home), auto_start_session=False)
    for ann, judge in ((0.4, 0.7), (0.9, 0.9), (0.8, None)):
        begun = localops.start_session(name=f"tidy {ann}")
        begun.score("tidy", ann, by="ann")
        if judge is not None:
            begun.score("tidy", judge, by="judge")
        begun.end_session("Success")
    with serving(home) as link, visiting(chromium, link) as visit:
        visit.open("/").locator("#filters summary", has_text="Display").click()
        visit.page.locator(".menu[open]").get_by_label("tidy", exact=True).check()
        for name, text in (
            ("tidy 0.4", "0.4 by ann, 0.7 by judge"),
            ("tidy 0.9", "0.9 by ann and judge"),
            ("tidy 0.8", "0.8"),
        ):
            line = visit.page.locator("#rows tr", has_text=name)
            expect(line.locator("[data-col='score:tidy']")).to_have_text(text)
        listed = visit.facts("sessions?sort=score:tidy")["sessions"]
        assert [one["name"] for one in listed] == ["tidy 0.9", "tidy 0.8", "tidy 0.4"]
        # A name that no session has is refused, as an unknown column is.
        refused = visit.facts("sessions?sort=score:tidi")["message"]
        assert refused == "invalid score: expected one that a session has, got 'tidi'; existing scores: 'tidy'"
        # To filter by it is no error: pages say why they are empty.
        for score, reason in (
            ("tidi>0.5", "No session has the score 'tidi'; existing scores: 'tidy'."),
            ("tidy@bob", "No score 'tidy' is by 'bob'; there are some by 'ann', 'judge'."),
        ):
            asked = f"score={quote(score)}"
            groups = f"/compare?group_a={quote(asked)}&group_b=state%3DSuccess"
            for path in (f"/?{asked}", f"/calls?{asked}", f"/analytics?{asked}", groups):
                visit.open(path)
                expect(visit.page.locator(".empty, .groups")).to_contain_text(reason)


def test_analytics_has_the_averages_of_scores(chromium: Browser, tmp_path: Path) -> None:
    """By name and author, with their intervals; a row leads to the sessions with that score."""
    home = tmp_path / "home"
    localops.init(home=str(home), auto_start_session=False)
    for value in (0.5, 0.75, 1.0):
        begun = localops.start_session()
        begun.score("tidy", value, by="ann")
        begun.score("passed", value > 0.5, by="ci")
        begun.end_session("Success")
    with serving(home) as link, visiting(chromium, link) as visit:
        page = visit.open("/analytics")
        table = page.locator(".chart[data-id='Scores']")
        for name, cells in (
            ("tidy", ["ann", "3", "3", "0.75", "0.129 … 1.371"]),
            ("passed", ["ci", "3", "3", "67%", "21% … 94%"]),
        ):
            row = table.locator("tbody tr", has_text=name)
            expect(row.locator("td")).to_have_text(["session", *cells])
        table.locator("tbody tr", has_text="tidy").locator("a").first.click()
        expect(page.locator("#rows tr")).to_have_count(3)
        assert "score=tidy" in page.url
