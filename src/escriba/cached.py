"""A property that is made once: `functools.cached_property` without the lock that this has in Python 3.11.

It knows nothing of what is kept. That lock is one for all objects of a class, so one thread waits for another's work; and a process that is
forked while a thread holds it waits for ever. Without it two threads may make the same value twice, of which one is kept.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

__all__ = ["cached_property"]

if TYPE_CHECKING:
    cached_property = functools.cached_property
else:

    class cached_property:  # noqa: N801  it stands for the one of that name
        """Made by its function when it is first asked for, then kept with the object."""

        def __init__(self, make: Any) -> None:
            self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            return vars(instance).setdefault(self._name, self._make(instance))
