"""Settings: their names, defaults and sources.

An option comes from the call, else from the environment (LOCALOPS_… before AGENTOPS_…), else from the home's
`config.toml`, else from its default here.  This module also determines the home and its projects.
"""

from __future__ import annotations

import os
import sys
from itertools import islice

from localops import host
from localops.careful import MOST_ENTRIES
from localops.errors import ConfigError, UnusableBudget
from localops.interruption import pass_on
from localops.output import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from localops.encoding.patterns import Broken
    from localops.encoding.pricing import Prices

JOURNAL, SETTINGS = "journal.db", "config.toml"
DURABILITIES = ("process", "power")

# AgentOps' options for its network and its log: accepted, so that programs run unchanged, but without effect.
IGNORED = frozenset(
    "endpoint app_url max_wait_time max_queue_size export_flush_interval auto_init "
    "log_level fail_safe prefetch_jwt_token log_session_replay_url exporter_endpoint exporter processor "
    "parent_key".split()
)
_AGENTOPS = frozenset(
    "api_key default_tags auto_start_session skip_auto_end_session env_data_opt_out trace_name "
    "instrument_llm_calls".split()
)
_TRUE = frozenset(("1", "true", "t", "yes", "y", "on"))
_FALSE = frozenset(("0", "false", "f", "no", "n", "off", ""))


class Config:
    """The options of a client, or, if given to `start_session`, of one session.

    Every option can be given by keyword; those that are left out come from the environment or the home's
    config.toml.
    """

    api_key: str | None
    default_tags: list[str]
    auto_start_session: bool
    skip_auto_end_session: bool
    env_data_opt_out: bool
    instrument_llm_calls: bool
    trace_name: str | None
    project: str | None
    home: str | None
    durability: str
    strict: bool
    redact: bool | Callable[[str], str] | Iterable[Any]
    # The patterns in the home's config.toml: they apply in addition to `redact`, unless it is False.
    patterns: tuple[re.Pattern[str], ...]
    budget_usd: float | None
    on_budget: Callable[[Any, float, float], object] | None
    on_loop: Callable[[Any, Any], object] | None
    polling: list[str]
    capture: bool
    signals: bool
    threads: bool | None
    max_value: int
    wait: float
    _before: Config | None = None  # the last argument of `on`, and its result
    _combined: Config

    def __init__(self, **options: Any) -> None:
        wrong, strays = self._set_options(options, {})
        if wrong:
            raise _combined_error(wrong)
        # Only a warning: the file may be for a newer release.
        for problem in strays:
            leave_out(problem)

    @classmethod
    def usable(cls, **options: Any) -> Config:
        """Return a configuration without invalid options; warn of each, as the program must continue.

        With `strict`, raise ConfigError instead; for an invalid budget, always raise it.
        """
        return cls._usable(options, {})

    def but(self, **options: Any) -> Config:
        """Return these options with some replaced; for an invalid one, the earlier value is kept."""
        return self._usable(options, self.given)

    def on(self, earlier: Config) -> Config:
        """Return the options of `earlier`, replaced by those that were given explicitly to this one."""
        if self._before is not earlier:
            below = dict(earlier.given)
            if "api_key" in self.given:  # a key chooses the project, unless this config names one
                below.pop("project", None)
            self._before, self._combined = earlier, self._usable(self.given, below)
        return self._combined

    @classmethod
    def _usable(cls, options: Mapping[str, Any], earlier: Mapping[str, Any]) -> Config:
        made = cls.__new__(cls)
        wrong, strays = made._set_options(options, earlier)
        if made.strict and (wrong or strays):
            raise _combined_error([*wrong, *map(ConfigError, strays)])
        if any(isinstance(error, UnusableBudget) for error in wrong):
            raise _combined_error(wrong)
        for error in wrong:
            leave_out(str(error), "a pattern that is not valid is" if isinstance(error, _PartlyInvalid) else "it is")
        for problem in strays:
            leave_out(problem)
        return made

    def _set_options(
        self, options: Mapping[str, Any], earlier: Mapping[str, Any]
    ) -> tuple[list[ConfigError], list[str]]:
        """Set every option from the first source that has it.

        Return the errors, and a message for each unknown name in the file and the environment.
        """
        wrong = [ConfigError(_unknown(name)) for name in options if name not in _OPTIONS and name not in IGNORED]
        folder, hidden = _home_to_read(options.get("home") or earlier.get("home")), None
        written: Mapping[str, Any] = {}
        try:
            written = _settings(folder)
        except UnusableBudget as error:
            hidden = error
        except ConfigError as error:
            wrong.append(error)
        self.given: dict[str, Any] = {}
        for name, (default, read) in _OPTIONS.items():
            setattr(self, name, default())
            for place, value, given in _places(name, options, earlier, folder, written):
                try:
                    setattr(self, name, read(value))
                except (TypeError, ValueError, OverflowError, ConfigError) as error:
                    wrong.append(_error_of(name, place, value, error))
                    # If one pattern is invalid, the others are still used.
                    usable = getattr(error, "usable", None)
                    if usable is None:
                        continue
                    setattr(self, name, usable)
                if given:
                    self.given[name] = value
                break
        self._set_patterns(folder, written.get("redact"), wrong)
        if hidden is not None:
            wrong.append(hidden if self.budget_usd is None else ConfigError(str(hidden)))
        return wrong, [*_strays_in_file(folder, written), *_strays_in_environment()]

    def _set_patterns(self, folder: str, written: Any, wrong: list[ConfigError]) -> None:
        """Set the patterns of the home's file, which apply even if `redact` comes from another source."""
        self.patterns = ()
        if written is None:
            return
        try:
            patterns = _redact(written)
            self.patterns = tuple(patterns) if isinstance(patterns, list) else ()
        except (TypeError, ValueError) as error:
            self.patterns = tuple(getattr(error, "usable", ()))
            problem = _error_of("redact", f"{_file(folder)}: invalid redact", written, error)
            if str(problem) not in map(str, wrong):
                wrong.append(problem)

    def folder(self) -> str:
        """Return the folder of the project that these options record into."""
        name = self.project or (project_of_key(self.api_key) if self.api_key else "default")
        return project_folder(self.home or data_folder(), name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and all(getattr(self, n) == getattr(other, n) for n in _OPTIONS)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = {name: "***" if name == "api_key" else value for name, value in self.given.items()}
        return f"Config({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def problems(folder: str, *, with_patterns: bool = True) -> list[str]:
    """Return a message for each invalid setting in a home's config.toml and in this environment.

    `with_patterns` includes patterns that do not compile; `broken_patterns` has their details.
    """
    wrong, strays = Config.__new__(Config)._set_options({"home": folder}, {})
    if not with_patterns:
        wrong = [error for error in wrong if not isinstance(error, _PartlyInvalid)]
    for read in (prices, takes_prices):
        try:
            read(folder)
        except ConfigError as error:
            wrong.append(error)
    return list(dict.fromkeys([*map(str, wrong), *strays]))


def broken_patterns(folder: str) -> tuple[list[Broken], int]:
    """Return the patterns of a home's config.toml that do not compile, and the number of valid ones."""
    from localops.encoding.patterns import BrokenPatterns, compiled

    try:
        written = _settings(folder).get("redact")
        return [], len(compiled(written)) if isinstance(written, list) else 0
    except BrokenPatterns as error:
        return error.broken, len(error.usable)
    except ConfigError:  # `problems` reports it
        return [], 0


def _home_to_read(given: Any) -> str:
    """Return the home whose config.toml to read; if it is invalid, the default, as the error is reported later."""
    try:
        return home(given)
    except (TypeError, ConfigError):
        return data_folder()


def _places(
    name: str, options: Mapping[str, Any], earlier: Mapping[str, Any], folder: str, written: Mapping[str, Any]
) -> Iterator[tuple[str, Any, bool]]:
    """Yield the sources of an option, the first one counts: an error prefix, the value, whether code gave it."""
    for source in (options, earlier):
        if source.get(name) is not None:
            yield f"invalid {name}", source[name], True
    if variable := _variable(name):
        yield f"invalid {variable}", os.environ[variable], False
    if name in written and name not in _NOT_IN_FILE:
        yield f"{_file(folder)}: invalid {name}", written[name], False


class _PartlyInvalid(ConfigError):
    """A setting with an invalid part; the rest is used."""


def _error_of(name: str, place: str, value: object, error: Exception) -> ConfigError:
    is_in_part = hasattr(error, "usable")
    kind = UnusableBudget if name == "budget_usd" else _PartlyInvalid if is_in_part else ConfigError
    expected, *advice = [str(word) for word in error.args] or [type(error).__name__]
    if not is_in_part:
        expected += f", got {'***' if name == 'api_key' else repr(value)}"
    return kind("; ".join([f"{place}: {expected}", *advice]))


def _combined_error(wrong: list[ConfigError]) -> ConfigError:
    """Combine several errors into one."""
    kind = UnusableBudget if any(isinstance(error, UnusableBudget) for error in wrong) else ConfigError
    return kind("; ".join(map(str, wrong)))


def leave_out(problem: str, what: str = "it is") -> None:
    """Warn that a setting is ignored, once, as several callers may report the same problem."""
    say_once(f"config {problem}", f"{problem}; {what} left out")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a string")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() in _TRUE | _FALSE:
            return value.lower() in _TRUE
        raise ValueError("expected true or false")
    if value not in (0, 1):
        raise ValueError("expected true or false")
    return bool(value)


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        value = value.split(",")
    try:
        return [str(word).strip() for word in islice(value, MOST_ENTRIES) if str(word).strip()]
    except TypeError:
        raise TypeError("expected a list of strings") from None


def _durability(value: Any) -> str:
    if value not in DURABILITIES:
        raise ValueError("expected 'process' (survives a crash of the process) or 'power' (also one of the machine)")
    return str(value)


def _positive(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if isinstance(value, bool) or not 0 < number < float("inf"):
        raise ValueError("expected a number above 0")
    return number


_REDACT = "expected true, false, a list of patterns or a function"


def _redact(value: Any) -> Any:
    if isinstance(value, str | bool | int):
        try:
            return _flag(value)
        except ValueError:
            raise ValueError(_REDACT, "put a single pattern into a list, too: redact = ['…']") from None
    if callable(value):
        return value
    if isinstance(value, dict):
        raise TypeError(_REDACT, "write redact = ['…'] above all tables")
    try:
        patterns = list(islice(value, MOST_ENTRIES))
    except TypeError:
        raise TypeError(_REDACT) from None
    from localops.encoding.patterns import BrokenPatterns, compiled

    try:
        usable = compiled(patterns)
    except BrokenPatterns as error:
        _warn_of_slow(error.usable)
        raise
    _warn_of_slow(usable)
    return usable


def _warn_of_slow(patterns: Iterable[re.Pattern[str]]) -> None:
    from localops.encoding.patterns import may_not_end

    for pattern in filter(may_not_end, patterns):
        say_once(
            f"slow {pattern.pattern}",
            f"the pattern '{pattern.pattern}' of redact fits some texts in very many ways, as (a+)+ and (a|aa)+ do: "
            "with these it takes so long that the program seems to hang; let each text fit in one way, as with a+",
        )


def _function(value: Any) -> Any:
    if not callable(value):
        raise TypeError("expected a function")
    return value


_OPTIONS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "api_key": (lambda: None, _text),
    "default_tags": (list, _words),
    "auto_start_session": (lambda: True, _flag),
    "skip_auto_end_session": (lambda: False, _flag),
    "env_data_opt_out": (lambda: False, _flag),
    "instrument_llm_calls": (lambda: True, _flag),
    "trace_name": (lambda: None, _text),
    "project": (lambda: None, lambda value: _project(_text(value))),
    "home": (lambda: None, lambda value: _home(value)),
    "durability": (lambda: "process", _durability),
    "strict": (lambda: False, _flag),
    "redact": (lambda: True, _redact),
    "budget_usd": (lambda: None, _positive),
    "on_budget": (lambda: None, _function),
    "on_loop": (lambda: None, _function),
    "polling": (list, _words),
    "capture": (lambda: True, _flag),
    "signals": (lambda: True, _flag),
    "threads": (lambda: None, _flag),
    "max_value": (lambda: 1 << 20, lambda value: int(_positive(value))),
    "wait": (lambda: 5.0, _positive),
}
OPTIONS = tuple(_OPTIONS)
_IN_FILE = {*_OPTIONS, *IGNORED, "prices", "take_prices"}
# The file is in the home, so it cannot set the home; and it cannot contain functions.
_NOT_IN_FILE = frozenset(("home", "on_budget", "on_loop"))
_VARIABLES = {f"LOCALOPS_{name.upper()}" for name in (*_OPTIONS, "session_id", "parent", "run", "pager", "take_prices")}


def _unknown(name: str) -> str:
    known = {*_OPTIONS, *IGNORED, "tags", "inherited_session_id"} - {name}  # the last two are options of init alone
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else f"the options are {', '.join(_OPTIONS)}"
    return f"there is no option {name!r} ({hint})"


def _strays_in_file(folder: str, written: Mapping[str, Any]) -> list[str]:
    """Return a message for each unknown name in the file."""
    problems = []
    for name in written:
        if name in _NOT_IN_FILE:
            problems.append(f"{_file(folder)}: {name} cannot be set in a file")
        elif name not in _IN_FILE:
            near = nearest(name, {*_OPTIONS, "prices"})
            problems.append(
                f"{_file(folder)}: there is no option {name!r}{f' (did you mean {near!r}?)' if near else ''}"
            )
    return problems


def lost_patterns(folder: str) -> list[str]:
    """Return a message for each unknown name in a home's file that is probably a misspelt `redact`."""
    written = _settings(folder)
    meant = [name for name, value in written.items() if any(map(_resembles_redact, (name, *_names_in(value))))]
    return _strays_in_file(folder, {name: written[name] for name in meant if name not in _IN_FILE})


def _names_in(value: Any) -> Iterable[str]:
    return value if isinstance(value, dict) else ()


def _resembles_redact(name: str) -> bool:
    return nearest(name, {*_OPTIONS, "prices"}) == "redact"


def _strays_in_environment() -> list[str]:
    """Return a message for each unknown variable that resembles one of ours; others may be of another program."""
    strays = [name for name in os.environ if name.startswith("LOCALOPS_") and name not in _VARIABLES]
    meant = {name: nearest(name, _VARIABLES, 0.8) for name in strays}
    return [f"unknown variable {name} (did you mean {near}?)" for name, near in meant.items() if near]


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name that is probably meant by an unknown one: a similar one, or one that contains it."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1, cutoff)
    return near[0] if near else next((one for one in names if name in one.split("_")), None)


def _variable(name: str) -> str | None:
    """Return the environment variable that is set for an option, if any."""
    for prefix in ("LOCALOPS_", "AGENTOPS_"):
        value = os.environ.get(prefix + name.upper())
        if value is not None and (prefix == "LOCALOPS_" or name in _AGENTOPS):
            return prefix + name.upper() if value else None
    return None


def _file(folder: str) -> str:
    return os.path.join(folder, SETTINGS)


def _settings(folder: str) -> Mapping[str, Any]:
    """Return the settings in the home's config.toml; empty without one."""
    path, data = _file(folder), b""
    try:
        with open(path, "rb") as file:
            data = file.read()
        import tomllib

        return tomllib.loads(data.decode())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            pass_on(error)
        kind = UnusableBudget if b"budget_usd" in data else ConfigError
        why = error.strerror if isinstance(error, OSError) else error
        raise kind(f"{path} cannot be read: {why}") from error


def own_prices(folder: str) -> Mapping[str, Any]:
    """Return the prices in the home's config.toml, by model."""
    prices = _settings(folder).get("prices", {})
    if not isinstance(prices, dict):
        raise ConfigError(f"{_file(folder)}: invalid prices: expected a table, got {prices!r}")
    return prices


def price_table(folder: str) -> str:
    """Return the path of the price table that was imported into a home; it may not exist."""
    return os.path.join(folder, "prices.json")


def prices(folder: str) -> Prices:
    """Return the prices of a home: those in its config.toml, then those of the newest table."""
    from localops.encoding.pricing import Prices

    return Prices(own_prices(folder), imported=price_table(folder))


def takes_prices(folder: str) -> bool:
    """Return whether a home accepts newer price tables from hubs, bundles and receipts, by its environment or file.

    Raise ConfigError for an invalid value.
    """
    given = os.environ.get("LOCALOPS_TAKE_PRICES") or _settings(folder).get("take_prices", False)
    try:
        return _flag(given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"invalid take_prices: expected true or false, got {given!r}") from error


def polling(folder: str) -> list[str]:
    """Return the names of polling tools, whose repeated calls are intended, from the environment or config.toml."""
    for place, value, _ in _places("polling", {}, {}, folder, _settings(folder)):
        try:
            return _words(value)
        except TypeError as error:
            raise _error_of("polling", place, value, error) from error
    return []


def in_environment() -> list[tuple[Any, Any]]:
    """Return our settings and AgentOps' in the environment, as bytes on systems that store bytes."""
    # Not decoded, for speed: the start of a session goes through the whole environment.
    data: dict[Any, Any] = getattr(os.environ, "_data", {})
    ours = (b"LOCALOPS_", b"AGENTOPS_") if os.name == "posix" else ("LOCALOPS_", "AGENTOPS_")
    return [item for item in data.items() if item[0][:9] in ours]


def home(given: str | os.PathLike[str] | None = None) -> str:
    """Return the folder of all projects: the argument, $LOCALOPS_HOME, or the platform's folder for user data.

    Raise ConfigError for a path that cannot be resolved.
    """
    chosen = given or os.environ.get("LOCALOPS_HOME")
    if not chosen:
        return data_folder()
    try:
        return _absolute(chosen)
    except ValueError as error:
        expected = error.args[0]
        raise ConfigError(f"invalid home: {expected}, got {os.fspath(chosen)!r}") from error


def _absolute(chosen: str | os.PathLike[str]) -> str:
    path = os.path.expanduser(os.fspath(chosen))
    if path.startswith("~"):
        raise ValueError("expected the home folder of an existing user")
    try:
        return os.path.abspath(path)
    except FileNotFoundError as error:
        raise ValueError("expected an absolute path, as the working directory does not exist any more") from error


def _home(chosen: str | os.PathLike[str]) -> str:
    """Return the home, as an option; the error for an invalid one says which home is used instead."""
    try:
        return _absolute(chosen)
    except ValueError as error:
        raise ValueError(error.args[0], f"recording to {data_folder()}") from error


def data_folder() -> str:
    """Return the default home."""
    if sys.platform == "darwin":
        return _path_of_user("Library", "Application Support", "localops")
    return _xdg("XDG_DATA_HOME", ".local", "share")


def state_folder() -> str:
    """Return the folder for data that cannot be written to its home."""
    return _xdg("XDG_STATE_HOME", ".local", "state")


def _xdg(variable: str, *usual: str) -> str:
    base = os.environ.get(variable, "")
    # The XDG specification says to ignore a relative path.
    return os.path.join(base, "localops") if os.path.isabs(base) else _path_of_user(*usual, "localops")


def _path_of_user(*names: str) -> str:
    """Return a path in the user's home folder, or in a temporary one, as in a container the user may have none."""
    folder = os.path.expanduser("~") if os.environ.get("HOME") != "" else ""
    return os.path.join(folder if os.path.isabs(folder) else _temporary(), *names)


def _temporary() -> str:
    """Return this user's folder in the temporary folder; if another user created it, it is not used."""
    import stat
    from tempfile import gettempdir

    place = os.path.join(gettempdir(), f"localops-{os.getuid()}")
    say_once("homeless", f"this user has no home folder: using {place}, which may not last")
    try:
        facts = os.lstat(place)
    except FileNotFoundError:
        return place
    if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o022:
        return place
    return os.devnull  # nothing can be created in it, so every row is dropped, with a warning


def project_folder(home_folder: str, project: str) -> str:
    """Return the folder of one project."""
    return os.path.join(home_folder, check_project(project))


def projects(home_folder: str) -> list[str]:
    """Return the names of a home's projects."""
    try:
        names = os.listdir(home_folder)
    except OSError as error:
        pass_on(error)
        return []
    return sorted(name for name in names if host.is_folder(os.path.join(home_folder, name)) and _is_name(name))


def check_home(folder: str) -> None:
    """Raise ConfigError if the home exists and cannot be read, which is not the same as an empty home."""
    try:
        os.listdir(os.path.join(folder, "."))  # "." also checks the permission to enter the folder
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ConfigError(f"home {folder} is not a directory; choose another with --home or LOCALOPS_HOME") from None
    except OSError as error:
        pass_on(error)
        whose = f"; it belongs to {name}" if (name := host.owner(folder)) else ""
        raise ConfigError(f"home {folder} cannot be read: {error.strerror}{whose}") from error


_NAMES = "expected 1 to 64 letters, digits, '.', '_' and '-', not beginning with '.' or '-'"


def check_project(name: str, what: str = "project") -> str:
    """Return the name if it is valid, else raise ConfigError with the rule for names."""
    if not _is_name(name):
        raise ConfigError(f"invalid {what} name: {_NAMES}, got {name!r}")
    return name


def _project(name: str) -> str:
    if not _is_name(name):
        raise ValueError(_NAMES)
    return name


def _is_name(name: str) -> bool:
    plain = name.replace(".", "a").replace("_", "a").replace("-", "a")
    return 0 < len(name) <= 64 and name[0] not in ".-" and plain.isascii() and plain.isalnum()


def project_of_key(api_key: str) -> str:
    """Return the project of an API key: the same for the same key; the key cannot be derived from it."""
    import hashlib

    return "key-" + hashlib.sha256(api_key.encode("utf-8", "replace")).hexdigest()[:12]
