"""Saved views: named filters of the list of sessions.

They are stored in `views.json`: in a home for all of its projects, in a project's folder for that project alone, as on
a hub.  A filter is stored as it was written, under the name of its parameter in the API: `since` as 7d means 7 days
before the view is used.  Secrets are replaced as in recorded values, so that the filter still matches these.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import count

from localops import config, host, output
from localops.encoding import encode
from localops.errors import Ambiguous, ConfigError, JournalError, LocalopsError, NotFound
from localops.reading.home import known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any
FILE = "views.json"
_LOCK = ".views.lock"
_MOST = 200  # views in a file
_LONGEST_NAME, _LONGEST_TEXT, _MOST_TEXTS = 80, 1_000, 100
_SHOWN = 40  # terminal cells of an invalid value in an error
_PARAMETER = re.compile(r"[a-z][a-z_]{0,39}")


class NameTaken(LocalopsError):
    """A view of this name exists, and the caller did not allow replacing it."""


@dataclass(frozen=True)
class View:
    """Filters under a name; each parameter has one or several texts."""

    name: str
    filters: dict[str, list[str]] = field(default_factory=dict)
    by: str | None = None  # on a hub: the name of the key that saved it
    saved: str | None = None  # when it was saved, as ISO time
    project: str | None = None  # its project; None: the whole home; not stored in the file


@dataclass(frozen=True)
class Saved:
    """The result of saving a view."""

    view: View
    replaced: bool  # whether it replaced another view of its name
    redacted: int  # the number of secrets that were replaced in it


def checked(name: object, filters: object) -> View:
    """Return a view with this name and these filters; raise ConfigError if they are invalid."""
    if not isinstance(name, str) or not 0 < len(name := name.strip()) <= _LONGEST_NAME or not name.isprintable():
        raise ConfigError(f"invalid name of a view: expected 1 to {_LONGEST_NAME} printable characters, got {name!r}")
    if not isinstance(filters, dict):
        expected = 'an object of texts by parameter, such as {"state": "Failure"}'
        raise ConfigError(f"invalid filters: expected {expected}, got {_as_json(filters)}")
    texts: dict[str, list[str]] = {}
    for parameter, value in filters.items():
        values = value if isinstance(value, list) else [value]
        if not isinstance(parameter, str) or not _PARAMETER.fullmatch(parameter):
            raise ConfigError(f"invalid filter {str(parameter)[:40]!r}: expected a parameter of the list of sessions")
        if not all(isinstance(text, str) and 0 < len(text) <= _LONGEST_TEXT for text in values):
            expected = f"texts of 1 to {_LONGEST_TEXT} characters"
            raise ConfigError(f"invalid {parameter}: expected {expected}, got {_as_json(value)}")
        if values:
            texts[parameter] = values
    if sum(map(len, texts.values())) > _MOST_TEXTS:
        raise ConfigError(f"too many filters: at most {_MOST_TEXTS} texts in a view")
    return View(name, texts)


class Views:
    """The saved views of a home, or of one project of it."""

    def __init__(self, home: str, project: str | None = None) -> None:
        self._home, self._project = home, project
        self._folder = home if project is None else config.project_folder(home, project)
        self._path = os.path.join(self._folder, FILE)

    def all(self) -> list[View]:
        """Return all views, sorted by name; raise JournalError when the file cannot be read."""
        try:
            with open(self._path, "rb") as file:
                document = encode.loads(file.read())
            names = {each.name for each in fields(View)}
            kept = [{key: value for key, value in one.items() if key in names} for one in document["views"]]
            return sorted((View(**{**one, "project": self._project}) for one in kept), key=_order)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise JournalError(f"{self._path} cannot be read: {error}") from error

    def one(self, name: str) -> View | None:
        """Return the view with a name, or None."""
        return next((view for view in self.all() if view.name == name), None)

    def save(self, view: View, *, may_replace: bool = True) -> Saved:
        """Store a view without its secrets, and return it; it replaces another view of its name.

        Raise NameTaken if that view has other filters, unless `may_replace` is set.
        """
        given = view.name
        view, redacted = self._without_secrets(view)
        with self._changing():
            if view.name != given:
                # Redaction gave it the name of another view.
                taken = {each.name for each in self.all() if each.filters != view.filters}
                view = replace(view, name=_free(view.name, taken))
            before = self.one(view.name)
            if before is not None and before.filters != view.filters and not may_replace:
                by = f", saved by {before.by}" if before.by else ""
                raise NameTaken(f"there is a view {view.name!r} already{by}, with other filters")
            others = [each for each in self.all() if each.name != view.name]
            if len(others) >= _MOST:
                raise ConfigError(f"there are {_MOST} saved views already: delete one first")
            self._write([*others, view])
        return Saved(view, before is not None, redacted)

    def _without_secrets(self, view: View) -> tuple[View, int]:
        """Return a view without the secrets that recording would replace, and their number."""
        # Imported here: rules are needed only to save a view.
        from localops.encoding.todays_rules import redactor

        rules = redactor(config.Config(home=self._home))
        if rules is None:
            return view, 0
        name, many = rules.clean(view.name)
        filters: dict[str, list[str]] = {}
        for parameter, texts in view.filters.items():
            cleaned = [rules.clean(text) for text in texts]
            filters[parameter] = [text for text, _ in cleaned]
            many += sum(secrets for _, secrets in cleaned)
        return replace(view, name=name, filters=filters), many

    def delete(self, name: str) -> None:
        """Delete a view; raise NotFound if there is none of that name."""
        with self._changing():
            views = self.all()
            left = [view for view in views if view.name != name]
            if len(left) == len(views):
                raise NotFound(f"there is no saved view {name!r}")
            self._write(left)

    def rewrite(self, change: Callable[[bytes], bytes]) -> None:
        """Replace the content of the file by the result of a function."""
        if not os.path.exists(self._path):
            return
        with self._changing():
            with open(self._path, "rb") as file:
                was = file.read()
            now = change(was)
            if now != was:
                host.write_private(self._path, now)

    def _write(self, views: list[View]) -> None:
        kept = [asdict(view) for view in sorted(views, key=_order)]
        content: dict[str, Any] = {"views": [{key: one[key] for key in one if key != "project"} for one in kept]}
        host.write_private(self._path, encode.dumps(content) + b"\n")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock, so that of two simultaneous changes none is lost."""
        try:
            host.make_private(self._folder)
            handle = os.open(
                os.path.join(self._folder, _LOCK), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)
        except OSError as error:
            raise JournalError(f"{self._path} cannot be written: {error.strerror or error}") from error


def with_texts(content: bytes, change: Callable[[str, str], str]) -> bytes | None:
    """Return a file of views in which a function has replaced each text that users wrote; it gets the place, too.

    Views whose names become equal are numbered.  None: it is not a file of views.
    """
    try:
        document = encode.loads(content)
        names = [view["name"] for view in document["views"]]
        for number, view in enumerate(document["views"]):
            place = f"views[{number}]"
            # The number behind a note was added by `_free`.
            name, numbered = _split_number(view["name"])
            name = change(f"{place}.name", name) + numbered
            names[number] = _free(name, {*names[:number], *names[number + 1 :]})
            view["name"] = names[number]
            if isinstance(view.get("by"), str):
                view["by"] = change(f"{place}.by", view["by"])
            for parameter, texts in view.get("filters", {}).items():
                texts[:] = [change(f"{place}.filters.{parameter}[{at}]", text) for at, text in enumerate(texts)]
        return encode.dumps(document) + b"\n"
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _split_number(name: str) -> tuple[str, str]:
    """Return a name without the number that `_free` added behind a note, and that number.

    >>> _split_number("w [redacted:pattern] (2)"), _split_number("mine (2)")
    (('w [redacted:pattern]', ' (2)'), ('mine (2)', ''))
    """
    begin, sign, end = name.rpartition("] (")
    if sign and "[redacted:" in begin and end[-1:] == ")" and end[:-1].isdigit():
        return f"{begin}]", f" ({end}"
    return name, ""


def _free(name: str, taken: Collection[str]) -> str:
    """Return a name that no other view has.

    >>> _free("mine", {"mine", "mine (2)"})
    'mine (3)'
    """
    if name not in taken:
        return name
    return next(numbered for number in count(2) if (numbered := f"{name} ({number})") not in taken)


def replaced_secrets(many: int) -> str:
    """Return the sentence about secrets that were replaced in a view.

    >>> replaced_secrets(1)
    '1 secret in the view was replaced, as in all that is recorded'
    """
    were = "was" if many == 1 else "were"
    return f"{output.counted(many, 'secret')} in the view {were} replaced, as in all that is recorded"


def every(home: str) -> list[View]:
    """Return the views of a home, then those of each of its projects."""
    return [view for project in (None, *known(home)) for view in Views(home, project).all()]


def lookup(home: str, project: str | None, name: str) -> View:
    """Return a view of a project, or of its home; without a project, also one of any project.

    Raise NotFound with the existing names, or Ambiguous if several projects have it.
    """
    views = [*Views(home, project).all(), *Views(home).all()] if project is not None else every(home)
    named = [view for view in views if view.name == name]
    if named and (project is not None or named[0].project is None or len(named) == 1):
        return named[0]
    if named:
        projects = ", ".join(str(view.project) for view in named)
        raise Ambiguous(f"several projects have a saved view {name!r}: choose one of {projects} with --project")
    names = sorted({repr(view.name) for view in views})
    raise NotFound(f"there is no saved view {name!r}; there is: {', '.join(names) or 'none yet'}")


def _as_json(value: object) -> str:
    return output.cut(encode.dumps(value).decode(), _SHOWN)


def _order(view: View) -> tuple[str, str]:
    return view.name.casefold(), view.name
