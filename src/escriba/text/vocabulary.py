"""What every tokenizer is: numbered symbols with their frequencies, and their form as JSON.

It knows nothing of how a text is cut into symbols: that is what `tokenizer.py` adds.
"""

from __future__ import annotations

import abc
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from escriba.errors import SettingsError, TextError, UnknownSymbolError
from escriba.language import tr, trn
from escriba.settings import TextSettings
from escriba.text.printed import Printed
from escriba.text.tokenizer_json import EOS, UNK, checked_json

__all__ = ["UNKNOWN_GLYPH", "Ids", "IncrementalDecoder", "ReadText", "Tokenizer", "checked_text", "filled", "normalized"]

Ids = NDArray[Any]  # of uint8, uint16 or uint32
UNKNOWN_GLYPH = "\ufffd"


@runtime_checkable
class ReadText(Protocol):
    """What `fit` asks of a corpus."""

    @property
    def pieces(self) -> tuple[str, ...]:
        """The documents, or the pieces that joined are the stream."""

    @property
    def is_documents(self) -> bool:
        """Whether the pieces are documents, each with an end."""

    @property
    def settings(self) -> TextSettings:
        """How the text was read."""


class Tokenizer(abc.ABC):
    """Symbols, their ids, and both ways between a text and ids.

    Laws: ``decode(encode(s)) == s`` for every text s over the vocabulary, and the pieces of `decoder` join to `decode`.

    Args:
        symbols: the symbols in order of id, without the special ones.
        frequencies: how often each symbol stands in the training text, (vocab_size,), special ones included.
        unknown: whether ``<unk>`` is there, with id 0.
        eos: whether ``<eos>`` is there, with the last id.
        normalization: what was done to the training text, "NFC" or "none".
        newlines: what was done to the training text, "lf" or "keep".

    Attributes:
        kind: "char", "word" or "byte"; `kinds` maps each to its class.
        knows_everything: whether no symbol is ever unknown, so that there is no ``<unk>``.
        symbols: all symbols in order of id, ``<unk>`` and ``<eos>`` by these names.
        unk_id: the id of ``<unk>``, 0, or None.
        eos_id: the id of ``<eos>``, vocab_size - 1, or None.
        frequencies: int64, (vocab_size,).
        dtype: the smallest of uint8, uint16 and uint32 that holds every id.
    """

    kind: ClassVar[Literal["char", "word", "byte"]]
    knows_everything: ClassVar[bool] = False
    kinds: ClassVar[dict[str, type[Tokenizer]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            Tokenizer.kinds[cls.kind] = cls

    def __init__(
        self,
        symbols: Sequence[str],
        frequencies: ArrayLike,
        *,
        unknown: bool,
        eos: bool,
        normalization: Literal["NFC", "none"] = "NFC",
        newlines: Literal["lf", "keep"] = "lf",
    ) -> None:
        self._plain = tuple(symbols)
        self._first = 1 if unknown else 0
        self.symbols = ((UNK,) if unknown else ()) + self._plain + ((EOS,) if eos else ())
        self.unk_id = 0 if unknown else None
        self.eos_id = len(self.symbols) - 1 if eos else None
        self.frequencies: NDArray[np.int64] = np.array(frequencies, dtype=np.int64)
        self.frequencies.flags.writeable = False
        self.normalization: Literal["NFC", "none"] = normalization
        self.newlines: Literal["lf", "keep"] = newlines
        self.dtype = np.min_scalar_type(len(self.symbols) - 1)
        if not self._plain or self.frequencies.shape != (self.vocab_size,):
            shape = self.frequencies.shape
            raise TextError(tr("{symbols} symbols with frequencies of shape {shape}", symbols=self.vocab_size, shape=shape))

    @property
    def vocab_size(self) -> int:
        """The number of ids, special ones included."""
        return len(self.symbols)

    @classmethod
    def fit(
        cls,
        text: str | ReadText | Iterable[str],
        *,
        min_count: int | None = None,
        max_vocab_size: int | None = None,
        unknown: bool | None = None,
        eos: bool | None = None,
        normalization: Literal["NFC", "none"] | None = None,
        newlines: Literal["lf", "keep"] | None = None,
        count_in: str | ReadText | Iterable[str] | None = None,
    ) -> Self:
        """The tokenizer of a text.

        Args:
            text: a text (one stream), a corpus, or documents. Its symbols are the vocabulary.
            min_count: rarer symbols become ``<unk>``; above 1 the vocabulary is that of `count_in`. None: as the corpus
                was read, else 1.
            max_vocab_size: only the most frequent symbols of `count_in` are kept, so many with the special ones, and the others become
                ``<unk>``. None: as the corpus was read, else all.
            unknown: keep id 0 for symbols never seen. None: as the corpus was read, else True.
            eos: have an ``<eos>``. None: for documents, not for a stream.
            normalization: "NFC" or "none", applied to `text`. None: as the corpus was read; else NFC if the text is in it.
            newlines: "lf" or "keep", applied to `text`. None: as the corpus was read; else "lf" if the text has no CR.
            count_in: where the frequencies are counted, usually the training part. None: in `text`.

        Raises:
            TextError: no symbol is left.
            SettingsError: `min_count` is under 1, or above 1 without ``<unk>``; so is `max_vocab_size` under 3, or set without it; or
                words are asked for of a script that has no blanks between them.
        """
        pieces, is_documents, settings = _pieces_of(text)
        if settings is not None:
            min_count = settings.min_count if min_count is None else min_count
            max_vocab_size = settings.max_vocab_size if max_vocab_size is None else max_vocab_size
            unknown = settings.unknown if unknown is None else unknown
            normalization = normalization or settings.normalization
            newlines = newlines or settings.newlines
        else:
            # a prompt will be treated as the training text was: so say what is true of it, rather than what is usual
            normalization = normalization or ("NFC" if all(unicodedata.is_normalized("NFC", one) for one in pieces) else "none")
            newlines = newlines or ("keep" if any("\r" in one for one in pieces) else "lf")
            pieces = [normalized(one, normalization, newlines) for one in pieces]
        min_count = 1 if min_count is None else min_count
        unknown = (unknown is None or unknown) and not cls.knows_everything
        if min_count < 1:
            raise SettingsError(tr("min_count is {min_count}", min_count=min_count), expected=tr("1 or more"))
        if min_count > 1 and not unknown and not cls.knows_everything:
            raise SettingsError(tr("min_count is {min_count}, but without <unk> every symbol must be kept", min_count=min_count))
        if max_vocab_size is not None and (max_vocab_size < 3 or not unknown) and not cls.knows_everything:
            raise SettingsError(
                tr("max_vocab_size is {most}", most=max_vocab_size)
                if unknown
                else tr("max_vocab_size is {most}, but without <unk> every symbol must be kept", most=max_vocab_size),
                expected=tr("3 or more, and an <unk> for what is left out; or None"),
            )
        counts = here = cls._count(pieces, is_documents)
        ends = len(pieces) if is_documents else 1
        if count_in is not None:
            pieces, are_documents, read_so = _pieces_of(count_in)
            if read_so is None or (read_so.normalization, read_so.newlines) != (normalization, newlines):
                pieces = [normalized(one, normalization, newlines) for one in pieces]
            here = cls._count(pieces, are_documents)
            ends = len(pieces) if are_documents else 1
        eos = is_documents if eos is None else eos
        kept = {symbol: count for symbol, count in here.items() if count >= min_count}
        if min_count == 1 and max_vocab_size is None:
            kept = {symbol: here.get(symbol, 0) for symbol in counts}
        elif max_vocab_size is not None and not cls.knows_everything:
            kept = dict(sorted(kept.items(), key=lambda one: (-one[1], one[0]))[: max_vocab_size - 1 - eos])
        symbols = cls._vocabulary(kept)
        if not symbols and min_count == 1:
            raise TextError(tr("the text is empty: it has no symbols"))
        if not symbols:
            raise TextError(
                tr("no symbol stands {min_count} times or more in the text", min_count=min_count), hint=tr("choose a smaller min_count")
            )
        left_out = sum(here.values()) - sum(here.get(symbol, 0) for symbol in symbols)
        frequencies = ([left_out] if unknown else []) + [here.get(symbol, 0) for symbol in symbols] + ([ends] if eos else [])
        return cls(symbols, frequencies, unknown=unknown, eos=eos, normalization=normalization, newlines=newlines)

    @classmethod
    @abc.abstractmethod
    def _count(cls, pieces: Sequence[str], are_documents: bool) -> Mapping[str, int]:
        """How often each symbol stands in documents, or in the stream that the pieces make."""

    @classmethod
    @abc.abstractmethod
    def _vocabulary(cls, counts: Mapping[str, int]) -> list[str]:
        """The symbols in order of id."""

    @classmethod
    @abc.abstractmethod
    def fits(cls, symbols: Sequence[str]) -> bool:
        """Whether these can be the symbols of a tokenizer of this kind."""

    def encode(self, text: str) -> Ids:
        """The ids of a text, (N,), in the smallest of uint8, uint16 and uint32.

        Raises:
            UnknownSymbolError: a symbol is not in the vocabulary, and there is no ``<unk>``.
            TextError: it is no string.
        """
        return self.encode_pieces([checked_text(text)])

    @abc.abstractmethod
    def encode_pieces(self, pieces: Sequence[str]) -> Ids:
        """The ids of the text that pieces make together, (N,), as `encode` gives them; the text is never there as one string."""

    @abc.abstractmethod
    def decode(self, ids: ArrayLike) -> str:
        """The text of ids; ``<unk>`` becomes U+FFFD, ``<eos>`` nothing.

        Raises:
            TextError: an id is not in the vocabulary.
        """

    @abc.abstractmethod
    def unknown_in(self, text: str) -> dict[str, int]:
        """The symbols of a text that are not in the vocabulary, and how often each stands there, most frequent first."""

    def encode_documents(self, documents: Sequence[str]) -> tuple[Ids, NDArray[np.int64]]:
        """The ids of documents one after another, (N,), and where each begins and the last ends, (D + 1,)."""
        lengths = [0]

        def encoded() -> Iterator[Ids]:
            for document in documents:
                ids = self.encode(document)
                lengths.append(len(ids))
                yield ids

        ids = filled(encoded(), sum(map(len, documents)), self.dtype)
        return ids, np.cumsum(lengths, dtype=np.int64)

    def decoder(self) -> IncrementalDecoder:
        """A decoder that is given ids bit by bit."""
        return IncrementalDecoder(self)

    def normalize(self, text: str) -> str:
        """A text treated as the training text was: line ends and Unicode normalization."""
        return normalized(checked_text(text), self.normalization, self.newlines)

    def to_json(self) -> dict[str, Any]:
        """The whole tokenizer as plain data for JSON."""
        return {
            "kind": self.kind,
            "normalization": self.normalization,
            "newlines": self.newlines,
            "unknown": self.unk_id is not None,
            "eos": self.eos_id is not None,
            "symbols": list(self._plain),
            "frequencies": self.frequencies.tolist(),
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """The tokenizer that `to_json` described.

        Raises:
            TextError: the data are not those of a tokenizer, or of one of another kind.
        """
        parts = checked_json(data, {kind: made for kind, made in Tokenizer.kinds.items() if issubclass(made, cls)})
        kind = Tokenizer.kinds[parts.pop("kind")]
        made = kind(parts.pop("symbols"), parts.pop("frequencies"), **parts)
        assert isinstance(made, cls)
        return made

    def table(self, n: int | None = None) -> Printed:
        """The vocabulary as lines: id, symbol, how often it stands in the training text; the first `n`, or all.

        Raises:
            SettingsError: `n` is no whole number, 0 or more.
        """
        if n is not None and (isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0):
            raise SettingsError(tr("n is {n!r}", n=n), expected=tr("a whole number, 0 or more, or None for all"))
        rows = [(i, repr(symbol), f"{self.frequencies[i]:,}") for i, symbol in enumerate(self.symbols[:n])]
        wide = max((len(symbol) for _, symbol, _ in rows), default=0)
        lines = [f"{i:>6}  {symbol:<{wide}}  {count:>12}" for i, symbol, count in rows]
        left = self.vocab_size - len(rows)
        return Printed("\n".join([*lines, *(["   ...  " + trn("and {n:,} more", "and {n:,} more", left)] if left else [])]))

    def known_ids(self, ids: ArrayLike) -> NDArray[Any]:
        """Checked ids as an array of one dimension, without ``<eos>``.

        Raises:
            TextError: an id is not in the vocabulary.
        """
        try:
            array = np.atleast_1d(np.asarray(ids))
        except (ValueError, TypeError) as error:
            raise TextError(tr("these are no ids: {error}", error=error), expected=tr("whole numbers in one dimension")) from error
        if array.size == 0:
            return np.empty(0, dtype=np.int64)
        if array.ndim != 1 or array.dtype.kind not in "ui":
            raise TextError(
                tr("ids of type {dtype} and shape {shape}", dtype=array.dtype, shape=array.shape),
                expected=tr("whole numbers in one dimension"),
            )
        if (low := int(array.min())) < 0 or (high := int(array.max())) >= self.vocab_size:
            raise TextError(
                tr("there is no symbol {id}", id=low if low < 0 else high),
                expected=tr("ids from 0 to {last}", last=self.vocab_size - 1),
            )
        return array if self.eos_id is None else array[array != self.eos_id]

    def _unknown_symbol(self, symbol: str, where: int) -> UnknownSymbolError:
        return UnknownSymbolError(
            tr("{symbol!r} at position {position:,} is not in the vocabulary, which has no {unk}", symbol=symbol, position=where, unk=UNK),
            expected=tr("only the {symbols:,} symbols of the training text", symbols=self.vocab_size),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.kind, self.symbols))

    def __repr__(self) -> str:
        special = [name for name, there in ((UNK, self.unk_id is not None), (EOS, self.eos_id is not None)) if there]
        return f"<{type(self).__name__}: {self.vocab_size:,} symbols{', with ' + ' and '.join(special) if special else ''}>"


class IncrementalDecoder:
    """Turns ids into text piece by piece; what is not yet a whole character is held back."""

    holds_back: ClassVar[bool] = False  # unless it is, every id shows as it comes, as one character or more

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def push(self, ids: ArrayLike) -> str:
        """The text that these ids, after those before, make certain."""
        return self._tokenizer.decode(ids)

    def flush(self) -> str:
        """What was held back; an incomplete character becomes U+FFFD."""
        return ""

    def copy(self) -> Self:
        """An independent decoder that holds back the same."""
        return type(self)(self._tokenizer)


def checked_text(text: str) -> str:
    """The text, if it is one.

    Raises:
        TextError: it is no string.
    """
    if not isinstance(text, str):
        raise TextError(tr("a text of type {type}", type=type(text).__name__), expected=tr("a string"))
    return text


def normalized(text: str, normalization: str, newlines: str) -> str:
    """A text with its line ends and its Unicode form as asked: "lf" or "keep", "NFC" or "none"."""
    if newlines == "lf" and "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if normalization == "none" else unicodedata.normalize(normalization, text)  # type: ignore[arg-type]


def _pieces_of(text: str | ReadText | Iterable[str]) -> tuple[Sequence[str], bool, TextSettings | None]:
    """The documents or pieces, whether they are documents (or a stream), and how they were read if that is known."""
    if isinstance(text, str):
        return [text], False, None
    if isinstance(text, ReadText):
        return text.pieces, text.is_documents, text.settings
    if isinstance(text, bytes) or not isinstance(text, Iterable):
        raise TextError(
            tr("a text of type {type}", type=type(text).__name__),
            expected=tr("a string, a text that was read, or documents, each a string"),
        )
    documents = list(text)
    for one in documents:
        if not isinstance(one, str):
            raise TextError(tr("a document of type {type}", type=type(one).__name__), expected=tr("strings"))
    return documents, True, None


def filled(chunks: Iterable[Ids], size: int, dtype: Any) -> Ids:
    """Arrays of ids one after another in one, (N,), made for `size` of them and made larger or smaller where N is another.

    So the ids are never there twice, as they would be in a list of arrays that is joined.
    """
    ids, end = np.empty(size, dtype=dtype), 0
    for chunk in chunks:
        if end + len(chunk) > len(ids):
            ids.resize((end + len(chunk)) * 5 // 4, refcheck=False)
        ids[end : end + len(chunk)] = chunk
        end += len(chunk)
    if end < len(ids):
        ids.resize(end, refcheck=False)
    return ids
