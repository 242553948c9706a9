"""What is made when it is first used, without a lock: properties of objects, and patterns of modules.

`functools.cached_property` of Python 3.11 has a lock: a child that is forked while another thread holds it would
deadlock.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from functools import cached_property as lazy
    from re import compile as late_pattern
else:

    class lazy:  # noqa: N801 (used like a function)
        """Make a method a property that caches its value; concurrent threads may calculate it twice."""

        def __init__(self, calculate):
            self._calculate = calculate
            self.__doc__ = calculate.__doc__

        def __set_name__(self, owner, name):
            self._name = name

        def __get__(self, instance, owner):
            if instance is None:
                return self
            return instance.__dict__.setdefault(self._name, self._calculate(instance))

    class late_pattern:  # noqa: N801 (used like a function)
        """Make a pattern as `re.compile` does, when one of its methods is first called: some take a millisecond."""

        def __init__(self, pattern, flags=0):
            self._pattern, self._flags = pattern, flags

        def __getattr__(self, name):
            import re

            value = getattr(re.compile(self._pattern, self._flags), name)
            # From now on, it is found without coming here.
            setattr(self, name, value)
            return value


__all__ = ["late_pattern", "lazy"]
