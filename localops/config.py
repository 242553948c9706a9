"""Settings: what was asked for, where from, and what that means.

An option is taken from the call, else from the environment (LOCALOPS_… before AGENTOPS_…), else from the
home's `config.toml`, else from its default here.  This module also says where the home and its projects are.
"""

from __future__ import annotations

import os
import sys

from localops.errors import ConfigError
from localops.output import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

JOURNAL = "journal.db"
DURABILITIES = ("process", "power")

# AgentOps' options that only concern its network or its log: taken, so that programs run unchanged, and
# without effect.
IGNORED = frozenset(
    "endpoint app_url max_wait_time max_queue_size export_flush_interval instrument_llm_calls auto_init "
    "log_level fail_safe prefetch_jwt_token log_session_replay_url exporter_endpoint exporter processor "
    "parent_key".split()
)
_AGENTOPS = frozenset(
    "api_key default_tags auto_start_session skip_auto_end_session env_data_opt_out trace_name".split()
)
_TRUE = frozenset(("1", "true", "t", "yes", "y", "on"))
_FALSE = frozenset(("0", "false", "f", "no", "n", "off", ""))


class Config:
    """The options of a client, or (given to `start_session`) of one session alone.

    Every option can be given by keyword; what is left out comes from the environment or the home's
    config.toml.
    """

    api_key: str | None
    default_tags: list[str]
    auto_start_session: bool
    skip_auto_end_session: bool
    env_data_opt_out: bool
    trace_name: str | None
    project: str | None
    home: str | None
    durability: str
    strict: bool
    redact: bool | Callable[[str], str] | Iterable[Any]
    budget_usd: float | None
    on_budget: Callable[[Any, float, float], object] | None
    capture: bool
    signals: bool
    max_value: int
    wait: float

    def __init__(self, **options: Any) -> None:
        self._take(options, _refuse)

    @classmethod
    def usable(cls, **options: Any) -> Config:
        """For a program that must go on: what cannot be used, wherever it came from, is said and left out.

        With `strict` it is a ConfigError here too.
        """
        made = cls.__new__(cls)
        made._take(options, _refuse if options.get("strict") is True else _leave_out)
        return made

    def _take(self, options: Mapping[str, Any], refuse: Callable[[str], None]) -> None:
        for name in options:
            if name not in _OPTIONS and name not in IGNORED:
                refuse(_unknown(name))
        wanted = {name: value for name, value in options.items() if value is not None}
        self.given = {name: value for name, value in wanted.items() if name in _OPTIONS}
        places = (self.given.get, _from_environment, self._settings(refuse).get)
        for name, (default, read) in _OPTIONS.items():
            setattr(self, name, default())
            for place in places:
                value = place(name)
                if value is None:
                    continue
                try:
                    setattr(self, name, read(value))
                    break
                except (TypeError, ValueError, ConfigError) as error:
                    shown = "***" if name == "api_key" else repr(value)
                    refuse(f"{name}={shown} cannot be used: {error}")
                    self.given.pop(name, None)

    def _settings(self, refuse: Callable[[str], None]) -> Mapping[str, Any]:
        try:
            return _settings(home(self.given.get("home")))
        except (TypeError, ConfigError) as error:
            refuse(str(error))
            return {}

    def but(self, **options: Any) -> Config:
        """The same options with some of them given anew, as far as they can be used."""
        return Config.usable(**{**self.given, **options})

    def folder(self) -> str:
        """The folder of the project that these options record into."""
        name = self.project or (project_of_key(self.api_key) if self.api_key else "default")
        return project_folder(home(self.home), name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and all(getattr(self, n) == getattr(other, n) for n in _OPTIONS)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = {name: "***" if name == "api_key" else value for name, value in self.given.items()}
        return f"Config({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _refuse(problem: str) -> None:
    raise ConfigError(problem)


def _leave_out(problem: str) -> None:
    say(f"{problem}; it is left out")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a string is expected")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() in _TRUE | _FALSE:
            return value.lower() in _TRUE
        raise ValueError("true or false is expected")
    return bool(value)


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        value = value.split(",")
    return [str(word).strip() for word in value if str(word).strip()]


def _durability(value: Any) -> str:
    if value not in DURABILITIES:
        raise ValueError("'process' survives the death of the process, 'power' also that of the machine")
    return str(value)


def _positive(value: Any) -> float:
    number = float(value)
    if not number > 0:
        raise ValueError("a number above 0 is expected")
    return number


def _redact(value: Any) -> Any:
    if isinstance(value, str | bool | int):
        return _flag(value)
    if callable(value):
        return value
    import re

    try:
        return [re.compile(pattern) for pattern in value]
    except re.error as error:
        raise ValueError(f"it holds a pattern that is none: {error}") from error


def _same(value: Any) -> Any:
    return value


_OPTIONS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "api_key": (lambda: None, _text),
    "default_tags": (list, _words),
    "auto_start_session": (lambda: True, _flag),
    "skip_auto_end_session": (lambda: False, _flag),
    "env_data_opt_out": (lambda: False, _flag),
    "trace_name": (lambda: None, _text),
    "project": (lambda: None, lambda value: check_project(_text(value))),
    "home": (lambda: None, os.fspath),
    "durability": (lambda: "process", _durability),
    "strict": (lambda: False, _flag),
    "redact": (lambda: True, _redact),
    "budget_usd": (lambda: None, _positive),
    "on_budget": (lambda: None, _same),
    "capture": (lambda: True, _flag),
    "signals": (lambda: True, _flag),
    "max_value": (lambda: 1 << 20, lambda value: int(_positive(value))),
    "wait": (lambda: 5.0, _positive),
}
OPTIONS = tuple(_OPTIONS)


def _unknown(name: str) -> str:
    import difflib

    known = {*_OPTIONS, *IGNORED, "tags", "inherited_session_id"} - {name}  # the last two are init's own
    near = difflib.get_close_matches(name, sorted(known), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(_OPTIONS)}"
    return f"there is no option {name!r}: {hint}"


def _from_environment(name: str) -> str | None:
    value = os.environ.get(f"LOCALOPS_{name.upper()}")
    if value is None and name in _AGENTOPS:
        value = os.environ.get(f"AGENTOPS_{name.upper()}")
    return value or None


def _settings(folder: str) -> Mapping[str, Any]:
    """The home's config.toml, which is the user's and only read; empty when there is none."""
    path = os.path.join(folder, "config.toml")
    try:
        with open(path, "rb") as file:
            import tomllib

            return tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def own_prices(folder: str) -> Mapping[str, Any]:
    """The prices that the user wrote into the home's config.toml, by model."""
    found = _settings(folder).get("prices", {})
    return found if isinstance(found, dict) else {}


def home(given: str | os.PathLike[str] | None = None) -> str:
    """The folder all projects are in: the argument, $LOCALOPS_HOME, or the platform's place for user data."""
    chosen = given or os.environ.get("LOCALOPS_HOME")
    if chosen:
        return os.path.abspath(os.path.expanduser(os.fspath(chosen)))
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support/localops")
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA") or os.path.expanduser("~"), "localops")
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(base, "localops")


def project_folder(home_folder: str, project: str) -> str:
    """The folder of one project."""
    return os.path.join(home_folder, check_project(project))


def projects(home_folder: str) -> list[str]:
    """The names of the projects a home holds."""
    try:
        names = os.listdir(home_folder)
    except OSError:
        return []
    return sorted(name for name in names if os.path.isdir(os.path.join(home_folder, name)) and _is_name(name))


def check_project(name: str) -> str:
    """The name itself when it can be a folder's; ConfigError says what a name looks like."""
    if not _is_name(name):
        raise ConfigError(
            f"{name!r} cannot be a project's name: 1 to 64 letters, digits, '.', '_' and '-', "
            "not beginning with '.' or '-'"
        )
    return name


def _is_name(name: str) -> bool:
    plain = name.replace(".", "a").replace("_", "a").replace("-", "a")
    return 0 < len(name) <= 64 and name[0] not in ".-" and plain.isascii() and plain.isalnum()


def project_of_key(api_key: str) -> str:
    """The project an API key stands for: same key, same project, and the key cannot be read back from it."""
    import hashlib

    return "key-" + hashlib.sha256(api_key.encode("utf-8", "replace")).hexdigest()[:12]
