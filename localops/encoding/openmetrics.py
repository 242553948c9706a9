"""Figures as text for Prometheus: OpenMetrics 1.0, and the older text format of Prometheus."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The media type of `text`."""
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of `text` with `older=True`."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
# The older format escapes no quotes in help texts.
_HELP_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n"})


class Sample(NamedTuple):
    """A value with its labels; `suffix` is appended to the name of the family, such as `_bucket`."""

    value: float
    labels: Mapping[str, str]
    suffix: str = ""


class Family(NamedTuple):
    """A named metric with all its samples; the name of a counter is without `_total`."""

    name: str
    kind: str  # counter, gauge or histogram
    about: str
    samples: list[Sample]


def gauge(name: str, about: str, value: float | None, **labels: str) -> Family:
    """Return a gauge with one sample, or without any if the value is not known."""
    return Family(name, "gauge", about, [] if value is None else [Sample(value, labels)])


def text(families: Iterable[Family], *, older: bool = False) -> bytes:
    r"""Return families as OpenMetrics, or in the older format of Prometheus; families without samples are left out.

    >>> print(text([Family("runs", "counter", "Runs.", [Sample(2, {"by": "Ada"}, "_total")])]).decode(), end="")
    # HELP runs Runs.
    # TYPE runs counter
    runs_total{by="Ada"} 2
    # EOF
    """
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        # The older format has no families, so it needs the full name of a counter.
        shown = f"{family.name}_total" if older and family.kind == "counter" else family.name
        lines.append(f"# HELP {shown} {family.about.translate(_HELP_ESCAPES if older else _ESCAPES)}")
        lines.append(f"# TYPE {shown} {family.kind}")
        lines += [f"{family.name}{each.suffix}{_labels(each.labels)} {_number(each.value)}" for each in family.samples]
    if not older:
        lines.append("# EOF")
    # A lone surrogate, as in a file name with invalid bytes, cannot be written as UTF-8.
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def wants_openmetrics(accept: str) -> bool:
    """Return whether an Accept header includes OpenMetrics, as that of a Prometheus server does."""
    return "application/openmetrics-text" in accept.lower()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()) + "}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(float(value))
