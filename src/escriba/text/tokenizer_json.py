"""Checks the JSON of a tokenizer before it is believed.

It knows nothing of files, nor of how a text is cut into symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from escriba.errors import TextError
from escriba.language import tr

__all__ = ["EOS", "UNK", "KindOfTokenizer", "checked_json"]

UNK, EOS = "<unk>", "<eos>"


class KindOfTokenizer(Protocol):
    """What is asked of a class of tokenizers."""

    kind: ClassVar[Any]
    knows_everything: ClassVar[bool]

    @classmethod
    def fits(cls, symbols: Sequence[str]) -> bool:
        """Whether these can be the symbols of a tokenizer of this kind."""


def checked_json(data: object, kinds: Mapping[str, type[KindOfTokenizer]]) -> dict[str, Any]:
    """The parts of a tokenizer's JSON, each checked.

    Raises:
        TextError: what is wrong, and where.
    """
    choices: dict[str, tuple[object, ...]] = {
        "kind": tuple(kinds),
        "normalization": ("NFC", "none"),
        "newlines": ("lf", "keep"),
        "unknown": (False, True),
        "eos": (False, True),
    }
    names = [*choices, "symbols", "frequencies"]
    if not isinstance(data, dict):
        raise TextError(tr("the tokenizer is a {type}", type=type(data).__name__), expected=tr("an object"))
    if missing := [name for name in names if name not in data]:
        raise TextError(tr("the tokenizer lacks {names}", names=", ".join(missing)))
    if unknown := [str(name) for name in data if name not in names]:
        raise TextError(
            tr("the tokenizer has an unknown key, {key!r}", key=unknown[0]), expected=tr("only {names}", names=", ".join(names))
        )
    for name, allowed in choices.items():
        if type(data[name]) is not type(allowed[0]) or data[name] not in allowed:
            raise TextError(
                tr("the tokenizer's {name} is {value!r}", name=name, value=data[name]), expected=tr(" or ").join(map(repr, allowed))
            )
    symbols, frequencies = data["symbols"], data["frequencies"]
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise TextError(tr("the tokenizer's symbols are not a list of strings"))
    kind = kinds[data["kind"]]
    if kind.knows_everything and data["unknown"]:
        raise TextError(tr("a tokenizer of the kind {kind!r} has no {symbol}", kind=kind.kind, symbol=UNK))
    if len({*symbols, UNK, EOS}) != len(symbols) + 2:
        raise TextError(tr("a symbol of the tokenizer stands twice"))
    if not symbols or not kind.fits(symbols):
        raise TextError(tr("the tokenizer's symbols are not those of the kind {kind!r}", kind=kind.kind))
    size = len(symbols) + data["unknown"] + data["eos"]
    if not isinstance(frequencies, list) or len(frequencies) != size:
        raise TextError(tr("the tokenizer's frequencies do not fit its symbols"), expected=tr("a list of {size} numbers", size=size))
    if not all(type(count) is int and 0 <= count < 2**63 for count in frequencies):
        raise TextError(tr("the tokenizer's frequencies are not all whole numbers from 0 to 2^63 - 1"))
    return dict(data)
