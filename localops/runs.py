"""Recorded runs for programs: what `localops why`, `lint`, `steps`, `diff`, `check` and `export` know of them."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager

from localops import config, dialects, output
from localops.errors import ConfigError, NotFound
from localops.reading import filters as filtering
from localops.reading import mirrored
from localops.reading.export import Run
from localops.reading.home import Home, known, used
from localops.reading.past_session import PastSession as PastSession
from localops.upkeep import views
from localops.upkeep.sweep import Sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any


class Runs:
    """The sessions of a home, or of one project of it."""

    def __init__(self, home: Home, project: str | None) -> None:
        self._home, self._project = home, project

    def session(self, ident: str | uuid.UUID = "last") -> PastSession:
        """Return the session of `last`, an id or the beginning of one; NotFound or Ambiguous otherwise."""
        return PastSession(*self._home.find(str(ident)))

    def sessions(self, *, view: str | None = None, **filters: Any) -> Iterator[PastSession]:
        """Return sessions, newest first; a session must pass every filter, and those of a saved view.

        The filters are those of `localops sessions`, as texts or lists of texts: state="Failure", since="7d",
        not_tag=["draft"], score="correct<0.5", text="refund", min_cost=0.5, errors=True. Raise ConfigError for others.
        A score that no session has is one warning on stderr.
        """
        saved = {} if view is None else views.lookup(self._home.folder, self._project, view).filters
        unknown = sorted(filters.keys() - {*filtering.NAMES})
        if unknown:
            raise ConfigError(f"invalid filter {unknown[0]!r}: expected one of {', '.join(filtering.NAMES)}")
        texts = {name: list(map(_text, _several(value))) for name, value in filters.items() if value is not None}
        wanted = filtering.parsed({**saved, **texts}, end_of_day=True)
        if wanted.text is not None:
            for project in self._home.projects:
                project.index().extend()
        if hint := filtering.hint_of_score(wanted.score, self._score_names):
            output.say_once("score of a filter", hint)
        return (PastSession(listed.project, listed.session) for listed in self._home.sessions(wanted))

    def _score_names(self) -> set[str]:
        return {name for project in self._home.projects for name in project.score_names()}

    def export(
        self,
        sessions: PastSession | Iterable[PastSession],
        path: str | os.PathLike[str],
        *,
        format: str | None = None,
        table: str | None = None,
        replace: bool = False,
    ) -> None:
        """Write sessions to a file, as `localops export` does; without a format, in that of the ending of the file.

        Raise ConfigError for an unknown format, and for a file that exists, unless it may be replaced.
        """
        target = os.fspath(path)
        form = format or dialects.named_by(os.path.splitext(target)[1].lower())
        if form not in dialects.FORMATS:
            raise ConfigError(f"invalid format {form!r} of {target}: expected one of {', '.join(dialects.FORMATS)}")
        if os.path.lexists(target) and not replace:
            raise ConfigError(f"{target} already exists: replace=True replaces it")
        chosen = [sessions] if isinstance(sessions, PastSession) else sessions
        runs = (Run(one.project, one.place.folder, one.place.reader, one.id.bytes) for one in chosen)
        dialects.write_file(form, runs, target, table=table)

    def secrets(self, *, since: str | None = None) -> dict[str, Any]:
        """Return the secrets that today's rules find in what was recorded, as `localops doctor --secrets --json`."""
        search = Sweep(self._home.folder, since_ns=0 if since is None else filtering.moment(since))
        if self._project is None:
            search.home()
        for name in [self._project] if self._project is not None else used(self._home.folder, known(self._home.folder)):
            search.project(name)
        return search.result.facts()


@contextmanager
def opened(home: str | os.PathLike[str] | None = None, project: str | None = None) -> Iterator[Runs]:
    """Open the home that the settings name, or this one; the data folder of a hub is a home, too.

    Sessions and their figures are read while it is open. Raise NotFound for a home or a project that does not exist,
    and ConfigError for one that is only the cache of a hub.
    """
    folder = None if home is None else os.fspath(home)
    if folder is not None and not os.path.isdir(folder):
        raise NotFound(f"the home {folder} does not exist")
    if mirrored.store_of(place := config.home(folder)) is not None:
        mirrored.refuse(place)
    with Home(folder, project) as one:
        yield Runs(one, project)


def _several(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple | set) else [value]


def _text(value: Any) -> str:
    return "1" if value is True else "" if value is False else str(value)
