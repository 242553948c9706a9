"""Properties that are calculated once per object, without a lock.

`functools.cached_property` of Python 3.11 has one: a child that is forked while another thread is in there would wait
for it forever.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from functools import cached_property as lazy
else:

    class lazy:  # noqa: N801 (used like a function)
        """Make a method a property that keeps its value; two threads at once may calculate it twice."""

        def __init__(self, calculate):
            self._calculate = calculate
            self.__doc__ = calculate.__doc__

        def __set_name__(self, owner, name):
            self._name = name

        def __get__(self, instance, owner):
            if instance is None:
                return self
            return instance.__dict__.setdefault(self._name, self._calculate(instance))


__all__ = ["lazy"]
