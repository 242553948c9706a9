"""AgentOps' small helpers, for programs that use them: JSON, times, settings, the machine, singletons."""

from __future__ import annotations

import json
import os
import sys
import types
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

from localops import __version__, host
from localops.interruption import attempt
from localops.recording import events
from localops.recording.context import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# JSON


def is_jsonable(x: object) -> bool:
    """Return whether JSON can say a value."""
    try:
        json.dumps(x)
    except (TypeError, OverflowError, ValueError, RecursionError):
        return False
    return True


def filter_unjsonable(d: Any) -> Any:
    """Return a value without what JSON cannot say, which becomes an empty text; an id becomes its text."""
    if isinstance(d, dict):
        return {key: _filtered(value) for key, value in d.items()}
    if isinstance(d, list):
        return [_filtered(value) for value in d]
    return d if isinstance(d, UUID) or is_jsonable(d) else ""


def _filtered(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return filter_unjsonable(value)


class AgentOpsJSONEncoder(json.JSONEncoder):
    """Says in JSON what the standard encoder refuses: ids, times, numbers, sets, enumerations, and all else as text."""

    def default(self, obj: Any) -> Any:
        """Return a plain value for an object."""
        if isinstance(obj, datetime):
            return obj.isoformat()
        if isinstance(obj, set):
            return list(obj)
        if isinstance(obj, UUID | Decimal):
            return str(obj)
        if hasattr(obj, "to_json"):
            return obj.to_json()
        return obj.value if isinstance(obj, Enum) else str(obj)


def serialize_uuid(obj: UUID) -> str:
    """Return an id as text."""
    return str(obj)


def model_to_dict(obj: Any) -> Any:
    """Return an object's fields: of a model of Pydantic, a dict, or any object; {} where it has none."""
    if obj is None:
        return {}
    if isinstance(obj, dict):
        return obj
    for name in ("model_dump", "dict"):
        if hasattr(obj, name):
            return getattr(obj, name)()
    return getattr(obj, "__dict__", {})


def safe_serialize(obj: Any) -> Any:
    """Return a value as JSON, whatever it holds; a text as it is."""
    if isinstance(obj, str):
        return obj
    if any(hasattr(obj, name) for name in ("model_dump", "dict", "parse")):
        obj = model_to_dict(obj)
    try:
        return json.dumps(obj, cls=AgentOpsJSONEncoder)
    except (TypeError, ValueError):
        return events.describe(obj)


# Times, versions, addresses


def get_ISO_time() -> str:  # noqa: N802  its name in AgentOps
    """Return the time now, in UTC."""
    return datetime.now(UTC).isoformat()


def get_agentops_version() -> str:
    """Return the version of what answers for AgentOps here."""
    return __version__


def check_agentops_update() -> None:
    """Do nothing: nothing is asked of a network."""


def get_trace_url(span: Any) -> str:
    """Return the command that shows a session, which has no page on a server; `span` may be the session or a span."""
    session = getattr(span, "session_id", None) or getattr(here()[0], "session_id", None)
    return f"localops show {session}" if session is not None else "localops show last"


def log_trace_url(span: Any, title: str | None = None) -> None:
    """Do nothing: sessions have no page on a server."""


# Settings


def get_env_bool(key: str, default: bool) -> bool:
    """Return whether a variable of the environment says yes."""
    value = os.environ.get(key)
    return default if value is None else value.lower() in ("true", "1", "t", "yes")


def get_env_int(key: str, default: int) -> int:
    """Return a variable of the environment as a number."""
    return attempt(lambda: int(os.environ.get(key, default)), default)


def get_env_list(key: str, default: Any = None) -> set[str]:
    """Return a variable of the environment, which has commas, as a set."""
    value = os.environ.get(key)
    return set(value.split(",")) if value else set(default or ())


# The machine


def get_host_env(opt_out: bool = False) -> dict[str, Any]:
    """Return what is known of the machine and of this Python."""
    return host.environment(opt_out)


def _part(name: str) -> Callable[[], Any]:
    def get() -> Any:
        return host.environment().get(name, {})

    get.__doc__ = f"Return {name} of the machine."
    return get


get_sdk_details = _part("SDK")
get_agentops_details = _part("SDK")
get_os_details = _part("OS")
get_cpu_details = _part("CPU")
get_ram_details = _part("RAM")
get_disk_details = _part("Disk")
get_installed_packages = _part("Installed Packages")
get_current_directory = _part("Project Working Directory")
get_virtual_env = _part("Virtual Environment")


def get_python_details() -> dict[str, str]:
    """Return the version of this Python."""
    return {"Python Version": sys.version.split()[0]}


def get_sys_packages() -> dict[str, Any]:
    """Return the packages that are loaded, and their versions."""
    packages: dict[str, Any] = host.environment()["SDK"].get("System Packages", {})
    return packages


def get_imported_libraries() -> list[str]:
    """Return the packages that the main module has imported."""
    main: dict[str, object] = vars(sys.modules["__main__"]) if "__main__" in sys.modules else {}
    modules = [value for value in main.values() if isinstance(value, types.ModuleType)]
    names = {module.__name__.partition(".")[0] for module in modules}
    return sorted(name for name in names if name and name not in sys.stdlib_module_names)


def get_library_version(package: str, default: str = "unknown") -> str:
    """Return the version of an installed package."""
    from importlib.metadata import version

    return attempt(lambda: version(package), default)


# Decorators and descriptors of AgentOps' own


def deprecated(message: object = None, *_: Any, **__: Any) -> Any:
    """Return the function as it is: nothing that works here is going to be removed."""
    return message if callable(message) else lambda function: function


def warn_deprecated_param(*_: Any, **__: Any) -> None:
    """Do nothing."""


def debug_print_function_params(function: Any) -> Any:
    """Return the function as it is."""
    return function


def check_call_stack_for_agent_id() -> UUID | None:
    """Return the id of the agent that the calling code is in."""
    agent = here()[2]
    return UUID(bytes=agent) if agent is not None else None


class agentops_property:  # noqa: N801  its name in AgentOps
    """A property that keeps a value on its object."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_agentops_{name}"

    def __init__(self) -> None:
        self._name = "_agentops"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else getattr(instance, self._name, None)

    def __set__(self, instance: Any, value: Any) -> None:
        setattr(instance, self._name, value)

    def __delete__(self, instance: Any) -> None:
        delattr(instance, self._name)

    @staticmethod
    def stack_lookup() -> UUID | None:
        """Return the id of the agent that the calling code is in."""
        return check_call_stack_for_agent_id()


class ClassPropertyDescriptor:
    """A property of a class."""

    def __init__(self, fget: Any, fset: Any = None) -> None:
        self.fget, self.fset = fget, fset

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.fget.__get__(instance, owner if owner is not None else type(instance))()


def classproperty(function: Any) -> ClassPropertyDescriptor:
    """Return a property of a class."""
    return ClassPropertyDescriptor(
        function if isinstance(function, classmethod | staticmethod) else classmethod(function)
    )


MetaClient = type


def handle_exceptions(function: Any) -> Any:
    """Return the function as it is: nothing is reported to a server."""
    return function


ao_instances: dict[Any, Any] = {}


def singleton(class_: Any) -> Any:
    """Return a function that makes one object of a class, and gives it each time."""

    def getinstance(*args: Any, **kwargs: Any) -> Any:
        if class_ not in ao_instances:
            ao_instances[class_] = class_(*args, **kwargs)
        return ao_instances[class_]

    return getinstance


def conditional_singleton(class_: Any) -> Any:
    """Return such a function, which with `use_singleton=False` makes another object."""
    one = singleton(class_)

    def getinstance(*args: Any, use_singleton: bool = True, **kwargs: Any) -> Any:
        return one(*args, **kwargs) if use_singleton else class_(*args, **kwargs)

    return getinstance


def clear_singletons() -> None:
    """Forget the objects that were made."""
    ao_instances.clear()
