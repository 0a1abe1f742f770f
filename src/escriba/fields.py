"""Settings as classes: fields with a type, a default, bounds and a sentence; checked when they are made, and never changed.

It knows no setting. It is small because it is loaded with every command: what a library for this needs to start would be a third of the
time until the first symbol is written.
"""

from __future__ import annotations

import math
import operator
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self

from escriba.errors import SettingsError, near_name
from escriba.language import later, tr

__all__ = ["Field", "Settings", "near_setting", "setting"]

TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
"""The words that a person types for a truth."""
MOST_DIGITS = 4300
"""Of a whole number that is typed: Python reads no longer one."""
LIMITS: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (operator.ge, later("input should be greater than or equal to {limit}")),
    "gt": (operator.gt, later("input should be greater than {limit}")),
    "le": (operator.le, later("input should be less than or equal to {limit}")),
    "lt": (operator.lt, later("input should be less than {limit}")),
}


class Fault(Exception):
    """What was expected of a value, in words."""


class Field(NamedTuple):
    """One setting: its default, its sentence, its bounds, and its type.

    Attributes:
        default: the value when none is given; it is not checked.
        description: a sentence for people.
        bounds: ge, gt, le, lt for numbers; min_length and max_length for texts and for several values.
        annotation: the type: bool, int, float, str, a Literal of words, a tuple of any number of one of these; or None as well.
        before: changes a value that is given, before it is checked; or raises `ValueError`.
    """

    default: Any
    description: str
    bounds: Mapping[str, float]
    annotation: Any = None
    before: Callable[[Any], Any] | None = None

    def checked(self, value: Any) -> Any:
        """The value as the type has it: typed numbers become numbers, lists tuples.

        Raises:
            Fault: it is none of the type, or beyond its bounds.
        """
        if self.before is not None:
            try:
                value = self.before(value)
            except ValueError as error:
                raise Fault(str(error)) from None
        kinds = self.kinds()
        if value is None and type(None) in kinds:
            return None
        value = converted(value, kinds[0])
        for name, limit in self.bounds.items():
            check_bound(value, name, limit)
        return value

    def kinds(self) -> tuple[Any, ...]:
        """The types that it may have: what is off with None has two."""
        return typing.get_args(self.annotation) if isinstance(self.annotation, types.UnionType) else (self.annotation,)

    def words(self) -> list[str]:
        """The words it may be, where it is a choice of words."""
        return [word for kind in self.kinds() if typing.get_origin(kind) is Literal for word in typing.get_args(kind)]


def setting(default: Any, *, description: str, before: Callable[[Any], Any] | None = None, **bounds: float) -> Any:
    """A field of a class of settings; see `Field`."""
    return Field(default, description, bounds, None, before)


def converted(value: Any, kind: Any) -> Any:
    """A value as a type has it.

    Raises:
        Fault: it is none of that type.
    """
    if typing.get_origin(kind) is Literal:
        words = typing.get_args(kind)
        if not isinstance(value, str) or value not in words:
            *first, last = (f"'{word}'" for word in words)
            raise Fault(tr("input should be {expected}", expected=tr(" or ").join([", ".join(first), last])))
        return value
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise Fault(tr("input should be a valid tuple"))
        return tuple(converted(one, typing.get_args(kind)[0]) for one in value)
    convert: Callable[[Any], Any] = {bool: a_truth, int: a_whole_number, float: a_number, str: a_text}[kind]
    return convert(value)


def a_truth(value: Any) -> bool:
    """A truth, or a word or number for one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if not isinstance(value, str):
        raise Fault(tr("input should be a valid boolean"))
    if value.strip().lower() not in TRUTHS:
        raise Fault(tr("input should be a valid boolean, unable to interpret input"))
    return TRUTHS[value.strip().lower()]


def a_whole_number(value: Any) -> int:
    """A whole number, or one that was typed, or a float that is one."""
    if isinstance(value, str):
        if len(value) > MOST_DIGITS:
            raise Fault(tr("unable to parse input string as an integer, exceeded maximum size"))
        try:
            return int(value)
        except ValueError:
            raise Fault(tr("a whole number")) from None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Fault(tr("input should be a finite number"))
        if not value.is_integer():
            raise Fault(tr("input should be a valid integer, got a number with a fractional part"))
        return int(value)
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise Fault(tr("input should be a valid integer"))
    return operator.index(value)


def a_number(value: Any) -> float:
    """A finite number, or one that was typed."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise Fault(tr("a number")) from None
    if isinstance(value, bool) or not (isinstance(value, float) or hasattr(value, "__index__")):
        raise Fault(tr("input should be a valid number"))
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise Fault(tr("input should be a finite number"))
    return found


def a_text(value: Any) -> str:
    """A text that can be written to a file."""
    if not isinstance(value, str):
        raise Fault(tr("input should be a valid string"))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Fault(tr("input should be a valid string, unable to parse raw data as a unicode string")) from None
    return value


def check_bound(value: Any, name: str, limit: float) -> None:
    """Holds a value against one bound.

    Raises:
        Fault: it is beyond it.
    """
    if name in LIMITS:
        within, said = LIMITS[name]
        if not within(value, limit):
            raise Fault(tr(said, limit=int(limit) if float(limit).is_integer() else limit))
    elif name == "min_length" and len(value) < limit:
        raise Fault(tr("string should have at least {min_length} character", min_length=limit))
    elif name == "max_length" and len(value) > limit:
        if isinstance(value, str):
            raise Fault(tr("string should have at most {max_length} characters", max_length=limit))
        raise Fault(tr("tuple should have at most {max_length} items, not {length}", max_length=limit, length=len(value)))


class Settings:
    """The base of all settings: frozen, strict about names, errors in Escriba's own form.

    A class says in `_consistent` what must hold between its values, with `ValueError`.

    Attributes:
        fields: of a class, its settings by their names.
    """

    fields: ClassVar[Mapping[str, Field]] = {}

    def __init_subclass__(cls) -> None:
        kinds = typing.get_type_hints(cls)
        found = dict(cls.fields)
        for name, field in [(name, value) for name, value in vars(cls).items() if isinstance(value, Field)]:
            found[name] = field._replace(annotation=kinds[name])
            delattr(cls, name)
        cls.fields = types.MappingProxyType(found)

    def __init__(self, /, **values: Any) -> None:  # a stranger's config.json may hold a key named self
        for name, field in self.fields.items():
            try:
                self.__dict__[name] = field.checked(values[name]) if name in values else field.default
            except Fault as fault:
                raise self._refused(name, values[name], str(fault)) from None
        for name in values:
            if name not in self.fields:
                raise near_setting(name, list(self.fields))
        try:
            self._consistent()
        except ValueError as error:
            raise SettingsError(str(error)) from None

    def _consistent(self) -> None:
        """Nothing must hold between the values."""

    def _refused(self, name: str, value: Any, message: str) -> SettingsError:
        """The error for a value: what was met, what was expected, and what it means or is near."""
        field = self.fields[name]
        near = near_name(str(value), field.words())
        return SettingsError(
            tr("{name} is {value!r}", name=name, value=value),
            expected=message,
            hint=tr("did you mean {near!r}?", near=near) if near else f"{name}: {tr(field.description)}",
        )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Settings from a mapping such as a section of config.json.

        Raises:
            SettingsError: a name is unknown or a value out of its range.
        """
        return cls(**values)

    def but(self, **changes: Any) -> Self:
        """A copy with some values changed, checked anew."""
        return type(self)(**{**self.as_dict(), **changes})

    def as_dict(self) -> dict[str, Any]:
        """The values by their names."""
        return dict(self.__dict__)

    def to_json(self) -> dict[str, Any]:
        """The values as JSON has them: lists for tuples."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.__dict__.items()}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(tr("settings are frozen: {name} changes in a copy, settings.but({name}=...)", name=name))

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.__dict__.items())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self)})"


def near_setting(name: str, names: list[str]) -> SettingsError:
    """The error for a setting that does not exist: it suggests the one that is spelt most alike."""
    near = near_name(name, names)
    return SettingsError(
        tr("there is no setting {name!r}", name=name),
        expected=tr("one of {names}", names=", ".join(names)),
        hint=tr("did you mean {near!r}?", near=near) if near else None,
    )
