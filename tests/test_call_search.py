"""Search for calls by words: compared with a plain search of every row, at once and in steps, while rows are added."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localops import clock
from localops.encoding import encode
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading import call_query, call_search
from localops.reading.call_query import CallFilters, Source
from localops.reading.call_search import PARTS, CallSearch, Wanted
from localops.reading.call_table import CallTable
from localops.reading.home import Home
from localops.reading.search import Query
from tests import made

_WORDS = "harbour lantern gull tide pier ropes fög naïve 潮 harbours light".split()
_QUERIES = (
    *("harbour", "harb*", "gull tide", '"gull tide"', "tid* lanter* rope*"),
    *("fog", "NAIVE pier", "潮", '"潮 gull"', "nothing"),
)


class _Calls:
    """Rows of calls, and the texts of each call by row and by part."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.rows: list[rows.Row] = []
        self.texts: dict[bytes, dict[str | None, list[str]]] = {}

    def _some(self) -> str:
        return " ".join(self.chance.choices(_WORDS, k=self.chance.randrange(5)))

    def add(self, many: int) -> list[rows.Row]:
        """Return the rows of some more calls, whose halves and errors are mixed, with others between them."""
        fresh = [row for _ in range(many) for row in (self._tool() if self.chance.random() < 0.5 else self._llm())]
        fresh += [made.event(self._some() or "x", "action", body=_json(params=self._some())) for _ in range(many)]
        self.chance.shuffle(fresh)
        # A row about a call comes after the call.
        fresh.sort(key=lambda row: (row[rows.COLUMNS.index("kind")] == "error", -row[rows.COLUMNS.index("phase")]))
        self.rows += fresh
        return fresh

    def _tool(self) -> Iterator[rows.Row]:
        id, given, returned, details = clock.new_id(), self._some(), self._some(), self._some()
        # Under None, whole rows: their names and all values, a line each.
        parts = self.texts[id] = {"arguments": [given], None: [f"dock\nquery\n{given}"]}
        yield made.event("dock", "tool", id=id, phase=rows.OPEN, body=_json(params={"query": given}))
        if self.chance.random() < 0.2:
            return
        parts["result"] = [returned]
        parts[None].append(f"dock\n{returned}")
        yield made.event("dock", "tool", id=id, body=_json(returns=[returned]))
        if self.chance.random() < 0.3:
            parts["error"] = [f"TideError\n{details}"]
            parts[None] += parts["error"]
            yield made.event("TideError", "error", parent=id, failed=1, body=_json(details=details))

    def _llm(self) -> Iterator[rows.Row]:
        id, prompt, answer = clock.new_id(), self._some(), self._some()
        whole = f"pier-4\nrole\nuser\ncontent\n{prompt}\n{answer}"
        self.texts[id] = {"prompt": [prompt], "answer": [answer], None: [whole]}
        messages = [{"role": "user", "content": prompt}]
        yield made.event("", "llm", id=id, model="pier-4", body=_json(prompt=messages, completion=answer))

    def matching(self, query: str, part: str | None) -> set[bytes]:
        """Return the calls of which each term is in a text of the part, or of any."""
        terms = [Query(term) for term in Query(query).parts]
        return {
            id
            for id, parts in self.texts.items()
            if all(any(term.is_in(text) for text in parts.get(part, ())) for term in terms)
        }


def _json(**fields: Any) -> str:
    return encode.dumps(fields).decode()


def test_words_choose_calls(tmp_path: Path) -> None:
    """Anywhere or in a part; also if rows are added between two steps of a search that is interrupted after each."""
    program = _Calls(1)
    journal = Journal(str(tmp_path / "default"))
    journal.add([made.event("run", "session", id=made.SESSION, body="{}")])
    home = Home(str(tmp_path))
    project = home.projects[0]
    table = CallTable(project.folder)
    cases = [(query, part) for query in _QUERIES for part in (None, *PARTS)]
    slow = {case: CallSearch(Wanted(*case)) for case in cases}
    for _ in range(2):
        journal.add(program.add(40))
        project.index().extend()
        table.extend(project.reader)
        for query, part in cases:
            whole, steps = CallSearch(Wanted(query, part)), slow[query, part]
            assert whole.go_on(project, table)
            while not steps.go_on(project, table, until=0):
                pass
            expected = program.matching(query, part)
            for search in (whole, steps):
                source = Source(project, table, None, lambda _: False, search.mask())
                call_filters = CallFilters(text=query, part=part)
                order: dict[str, Any] = {"sort": "began", "ascending": False, "after": None, "many": 1_000}
                listed, _ = call_query.page([source], call_filters, **order)
                assert {call.id for call in listed} == expected, (query, part)
            for call in listed[:20]:
                match = call_search.match(project, call.id, call.error_seq, Wanted(query, part))
                # Only a name has the words, or two values do side by side.
                if match is None:
                    assert "pier" in query or '"' in query
                    continue
                assert part in (None, match.part)
                [text] = program.texts[call.id][match.part]
                assert any(Query(term).is_in(text) and Query(term).is_in(match.text) for term in Query(query).parts)
    # A table that is made again has other numbers.
    table.close()
    table = CallTable(str(tmp_path / "default" / "nowhere"))
    table.extend(project.reader)
    for search in slow.values():
        search.go_on(project, table)
    source = Source(project, table, None, lambda _: False, slow["harb*", None].mask())
    read = call_query.total([source], CallFilters(text="harb*"))
    assert read.sum("calls") + read.sum("unfinished") == len(program.matching("harb*", None))
    table.close()
    home.close()
    journal.close()


def test_a_text_without_a_word_is_refused() -> None:
    """The same as in the other searches."""
    with pytest.raises(Exception, match="at least one word"):
        CallSearch(Wanted("?!"))
