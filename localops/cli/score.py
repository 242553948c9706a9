"""`localops score`: judge a session or one of its events, and list its scores."""

from __future__ import annotations

import click

from localops import output
from localops.cli import common
from localops.config import Config
from localops.errors import LocalopsError
from localops.journal.rows import id_text
from localops.reading import given_scores
from localops.reading.home import STATES, Filters
from localops.recording import scores
from localops.upkeep import scoring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.reading.given_scores import Given
    from localops.recording.scores import Score


_OF_ONE = ("by", "comment", "event", "version", "withdraw")  # options for a single score
_FEW = 5  # failures that are printed
_NOTHING = ("None", "null")  # values that withdraw a score in programs and JSON


def _check_value(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return a value, or fail if it is an unknown option or means no value; a number may begin with `-`."""
    if value is not None and value.startswith("-") and not value[1:2].isdigit() and value[1:2] != ".":
        raise click.NoSuchOption(value)
    if value in _NOTHING:
        raise click.UsageError(
            f"invalid score value: expected true, false, a number or a word for a category, got {value}; "
            "use --withdraw to withdraw the score"
        )
    return value


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("ident", required=False, metavar="[ID]")
@click.argument("name", required=False)
@click.argument("value", required=False, callback=_check_value)
@click.option("--by", default=scores.HUMAN, show_default=True, metavar="NAME", help="Who judges.")
@click.option("--comment", metavar="TEXT", help="Why.")
@click.option("--event", metavar="ID", help="Judge this event of the session: its id, or the beginning of it.")
@click.option("--version", metavar="TEXT", help="Version of the judge: of its prompt, program or rubric.")
@click.option("--withdraw", is_flag=True, help="Withdraw the score with this NAME and author that counts.")
@click.option("--with", "path", metavar="FILE", help="Judge recorded sessions by the functions score_… of FILE.")
@click.option("--since", type=common.Moment(), help="With --with: sessions started since: 2h, 3d, a day, an ISO time.")
@click.option("--until", type=common.Moment(end=True), help="With --with: sessions started until then.")
@click.option("--tag", help="With --with: sessions with this tag.")
@click.option("--state", type=common.State(STATES), help="With --with: sessions in this state.")
@click.option(
    "--processes", type=click.IntRange(1, 64), help="With --with: number of processes  [default: one for each core]."
)
@common.place_options
@common.json_option
def score(
    ident: str | None,
    name: str | None,
    value: str | None,
    by: str,
    comment: str | None,
    event: str | None,
    version: str | None,
    withdraw: bool,
    path: str | None,
    since: int | None,
    until: int | None,
    tag: str | None,
    state: str | None,
    processes: int | None,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Judge session ID: give it the score NAME with a VALUE; without NAME, list its scores.

    VALUE is true or false, a number, or a word for a category. ID is `last`, or the beginning of an id. The newest
    score of a name and an author counts; earlier ones are kept.

    With --with FILE, each function of FILE whose name begins with score_ judges recorded sessions that have ended.
    Sessions that it has judged in the same version are skipped, so that the command can be repeated, also after an
    interruption.
    """
    if path is not None:
        if ident is not None or any(map(common.is_given, _OF_ONE)):
            raise click.UsageError("--with judges many sessions: choose them by --since, --until, --tag or --state")
        common.check_period(since, until)
        filters = Filters(state=state, tag=tag, since=since, until=until)
        _judge(path, filters, home, project, processes, as_json=as_json)
        return
    if ident is None:
        raise click.UsageError("name a session by its ID or `last`, or judge many by --with FILE")
    if name is None:
        _show(ident, home, project, as_json=as_json)
        return
    if withdraw == (value is not None):
        raise click.UsageError("give a VALUE, or --withdraw to withdraw an earlier one")
    given = scores.Score(name, None if value is None else scores.value_from(value), by, comment, version, event)
    give(scores.checked(given), ident, home, project, as_json=as_json)


def _judge(
    path: str, filters: Filters, home: str | None, project: str | None, processes: int | None, *, as_json: bool
) -> None:
    """Judge many sessions, and print what was done; fail if a function did."""
    from localops.upkeep import score_runs

    common.check_home(home)
    done = score_runs.judge(
        path, Config.usable(**_place(home, project)), filters, home=home, project=project, processes=processes
    )
    if as_json:
        common.print_json(
            {
                "functions": [
                    {"name": name, "by": author, "version": version} for name, author, version in done.functions
                ],
                **{key: getattr(done, key) for key in ("sessions", "scores", "withdrawn", "unchanged", "running")},
                "failures": [
                    {"session_id": one.session, "by": one.author, "reason": one.reason} for one in done.failures
                ],
            }
        )
    else:
        words = [f"{output.counted(done.sessions, 'session')} judged, {output.counted(done.scores, 'score')} given"]
        words += [f"{output.count(done.withdrawn)} withdrawn"] if done.withdrawn else []
        words += [f"{output.count(done.unchanged)} judged before"] if done.unchanged else []
        words += [f"{output.count(done.running)} still running"] if done.running else []
        output.say("; ".join(words))
    if done.failures:
        for one in done.failures[:_FEW]:
            output.say(f"{one.author} failed on session {one.session[:13]}: {output.clean(one.reason)}")
        if len(done.failures) > _FEW:
            output.say(f"and {output.count(len(done.failures) - _FEW)} more: --json lists all")
        raise LocalopsError(f"{output.counted(len(done.failures), 'judgement')} failed; the next run tries these again")


def _place(home: str | None, project: str | None) -> dict[str, Any]:
    return {key: value for key, value in (("home", home), ("project", project)) if value is not None}


def give(given: Score, ident: str, home: str | None, project: str | None, *, as_json: bool) -> None:
    """Write a score or a note, and print where it is stored."""
    common.check_home(home)
    written = scoring.give(Config.usable(**_place(home, project)), ident, given, home=home, project=project)
    name, value, by = (written.pop(key) for key in ("name", "value", "by"))
    if as_json:
        about = {"name": name, "value": value} if given.name else {}
        common.print_json({**written, **about, "by": by})
        return
    what = f"{output.clean(name)} {output.clean(scores.shown(value))}" if given.name else "note kept"
    target = f"event {written['event']} of " if written["event"] else ""
    output.say(f"{what}, by {output.clean(by)}: {target}session {written['session_id'][:13]}")


def _show(ident: str, home: str | None, project: str | None, *, as_json: bool) -> None:
    with common.look(home, project) as opened:
        where, session = opened.find(ident)
        given = given_scores.of_session(where.reader, session)
        if as_json:
            about = {"session_id": id_text(session), "project": where.name}
            common.print_json({**about, **given_scores.together(given)})
            return
        listed = [one for one in given if not one.is_note]
        if listed:
            events = {one.target for one in listed if one.target}
            _print(listed, {event: scoring.short_event(where, session, event) for event in events})
        for one in given:
            if one.is_note:
                print(f"{common.dim(_when(one))}  {output.clean(_text(one.body.get('comment')))}")
        if not given:
            output.say(f"session {common.short_id(session)} has no scores and no notes")


def _print(listed: list[Given], events: dict[bytes, str]) -> None:
    rows: list[list[object]] = [
        [
            one.name,
            scores.shown(one.value),
            one.author,
            one.version or "",
            events.get(one.target, ""),
            _when(one),
            _comment(one),
        ]
        for one in listed
    ]
    headers = ["name", "value", "by", "version", "event", "given", "comment"]
    if not all(one.counts for one in listed):
        headers.append("")
        for row, one in zip(rows, listed, strict=True):
            row.append("" if one.counts else "no longer counts")
    common.print_table(rows, headers, soft=("name", "comment", "by", "value"), spare=("version", "given"))


def _when(one: Given) -> str:
    return output.when(one.given_ns)


def _comment(one: Given) -> str:
    comment = one.body.get("comment")
    return "" if comment is None else _text(comment)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value, ensure_ascii=False)
