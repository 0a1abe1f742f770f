"""Cuts a text into symbols (characters, words or bytes) and numbers them, both ways.

It knows nothing of where the text came from, nor of what is done with the numbers.

Ids: ``<unk>``, where there is one, is 0; then the symbols; ``<eos>``, where there is one, is the last. What the
kinds of symbol have in common is `Vocabulary`, in `vocabulary.py`.
"""

from __future__ import annotations

import codecs
import functools
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from escriba.cached import cached_property
from escriba.errors import SettingsError, UnknownSymbolError
from escriba.language import tr
from escriba.text.pieces import joined_pieces
from escriba.text.vocabulary import UNKNOWN_GLYPH, Ids, IncrementalDecoder, Tokenizer, checked_text, filled

__all__ = [
    "TOKENIZERS",
    "ByteTokenizer",
    "CharTokenizer",
    "IncrementalDecoder",
    "Tokenizer",
    "WordTokenizer",
    "tokenizer_from_json",
]

CODE_POINTS = 0x110000
CHUNK = 4_000_000  # characters looked up at once: 16 MB of UTF-32
BYTE_NAMES = tuple(f"0x{byte:02x}" for byte in range(256))


def code_points(text: str) -> Iterator[NDArray[np.uint32]]:
    """The code points of a text, in chunks that stay small beside the text."""
    for start in range(0, len(text), CHUNK):
        # surrogatepass: a Python string may hold half a surrogate pair, and losing it silently would break the round trip
        yield np.frombuffer(text[start : start + CHUNK].encode("utf-32-le", "surrogatepass"), dtype="<u4")


class CharTokenizer(Tokenizer):
    """One symbol is one character (a Unicode code point); the vocabulary is in the order of the code points."""

    kind: ClassVar[Literal["char", "word", "byte"]] = "char"

    @classmethod
    def _count(cls, pieces: Sequence[str], are_documents: bool) -> dict[str, int]:
        counts = np.zeros(CODE_POINTS, dtype=np.int64)
        # joined, because a million short documents one by one would cost a million passes over the counts
        for piece in joined_pieces(pieces):
            for codes in code_points(piece):
                some = np.bincount(codes)
                counts[: len(some)] += some
        return {chr(code): int(counts[code]) for code in np.flatnonzero(counts)}

    @classmethod
    def _vocabulary(cls, counts: Mapping[str, int]) -> list[str]:
        return sorted(counts)

    @classmethod
    def fits(cls, symbols: Sequence[str]) -> bool:
        """Each is one character."""
        return all(len(symbol) == 1 for symbol in symbols)

    @cached_property
    def _ids_of_codes(self) -> Ids:
        """The id of every code point, (0x110000,); those outside the vocabulary have the id 0."""
        table = np.zeros(CODE_POINTS, dtype=self.dtype)
        table[self._codes_of_symbols] = np.arange(self._first, self._first + len(self._plain))
        return table

    @cached_property
    def _is_known(self) -> NDArray[np.bool_]:
        table = np.zeros(CODE_POINTS, dtype=np.bool_)
        table[self._codes_of_symbols] = True
        return table

    @cached_property
    def _codes_of_symbols(self) -> NDArray[np.uint32]:
        return np.fromiter(map(ord, self._plain), dtype=np.uint32, count=len(self._plain))

    @cached_property
    def _codes_of_ids(self) -> NDArray[np.uint32]:
        codes = np.full(self.vocab_size, ord(UNKNOWN_GLYPH), dtype="<u4")
        codes[self._first : self._first + len(self._plain)] = self._codes_of_symbols
        return codes

    def encode_pieces(self, pieces: Sequence[str]) -> Ids:
        """The ids of the text that pieces make, (N,); see `Tokenizer.encode_pieces`."""
        ids = np.empty(sum(map(len, pieces)), dtype=self.dtype)
        start = 0
        for piece in joined_pieces(pieces):
            for codes in code_points(piece):
                if self.unk_id is None:
                    known = self._is_known[codes]
                    if not known.all():
                        where = int(np.argmin(known))
                        raise self._unknown_symbol(chr(codes[where]), start + where)
                ids[start : start + len(codes)] = self._ids_of_codes[codes]
                start += len(codes)
        return ids

    def encode_documents(self, documents: Sequence[str]) -> tuple[Ids, NDArray[np.int64]]:
        """The ids of documents and their offsets, in one pass."""
        lengths = np.fromiter(map(len, documents), dtype=np.int64, count=len(documents))
        return self.encode_pieces(documents), np.concatenate([[0], np.cumsum(lengths)])

    def decode(self, ids: ArrayLike) -> str:
        """The text of ids; see `Tokenizer.decode`."""
        data: bytes = self._codes_of_ids[self.known_ids(ids)].tobytes()
        return data.decode("utf-32-le", "surrogatepass")

    def unknown_in(self, text: str) -> dict[str, int]:
        """What of a text is not in the vocabulary; see `Tokenizer.unknown_in`."""
        counts = self._count([checked_text(text)], False)
        unknown = {symbol: count for symbol, count in counts.items() if not self._is_known[ord(symbol)]}
        return dict(sorted(unknown.items(), key=lambda item: (-item[1], item[0])))


WITHOUT_BLANKS = re.compile("[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""The first letter of a word in a script that sets no blanks between words: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese."""
LONGEST_MEAN = 3.5
"""Letters: longer than this on the mean, what stands between blanks in such a script is no word; a text cut into words has about 2."""
FEWEST_LETTERS = 50
"""In a text of fewer such letters it may be chance."""


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    """Words, blanks one by one, and other characters one by one: every character of a text is in exactly one match."""
    # `re` has no class for combining marks, and a word of Hindi or of decomposed Vietnamese must not fall apart at them
    marks = [chr(code) for code in range(0x300, sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"]
    return re.compile(rf"\w[\w{''.join(marks)}]*|\s|[^\w\s]")


def refuse_clauses(counts: Mapping[str, int]) -> None:
    """Raises SettingsError where scripts without blanks prevail, and what stands between blanks and marks is long: it is no word."""
    unspaced = {word: count for word, count in counts.items() if WITHOUT_BLANKS.match(word)}
    found, letters = sum(unspaced.values()), sum(len(word) * count for word, count in unspaced.items())
    prevail = 2 * found > sum(count for word, count in counts.items() if word[0].isalpha())
    if prevail and letters >= FEWEST_LETTERS and letters > LONGEST_MEAN * found:
        raise SettingsError(
            tr(
                "words were asked for of a text in a script without blanks between words: {clause!r} would be one word",
                clause=max(unspaced, key=len)[:20],
            ),
            expected=tr("words with blanks between them"),
            hint=tr("--unit char, or a text that was cut into words before"),
        )


class WordTokenizer(Tokenizer):
    """One symbol is a word, a blank or a punctuation mark; the most frequent have the lowest ids.

    Nothing is lost: the symbols of a text, joined, are the text. Ties are in the order of the code points.
    """

    kind: ClassVar[Literal["char", "word", "byte"]] = "word"

    @staticmethod
    def cut(text: str) -> Iterator[list[str]]:
        """The symbols of a text, some hundred thousand at a time."""
        pattern, start = _word_pattern(), 0
        while start < len(text):
            # a line feed is a symbol of its own, so a cut after one never cuts a word
            end = text.find("\n", start + CHUNK // 4) + 1 or len(text)
            yield pattern.findall(text[start:end])
            start = end

    @classmethod
    def cut_pieces(cls, pieces: Iterable[str]) -> Iterator[list[str]]:
        """The symbols of the text that pieces make: a word that the end of a piece cuts goes on in the next."""
        begun = ""
        for piece in pieces:
            for words in cls.cut(begun + piece):
                begun = ""
                # all but the last end with a line feed
                if words[-1][0].isalnum() or words[-1][0] == "_":
                    begun = words.pop()
                if words:
                    yield words
        if begun:
            yield [begun]

    @classmethod
    def _count(cls, pieces: Sequence[str], are_documents: bool) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for words in chain.from_iterable(map(cls.cut, pieces)) if are_documents else cls.cut_pieces(pieces):
            counts.update(words)
        return counts

    @classmethod
    def _vocabulary(cls, counts: Mapping[str, int]) -> list[str]:
        refuse_clauses(counts)
        return sorted(counts, key=lambda word: (-counts[word], word))

    @classmethod
    def fits(cls, symbols: Sequence[str]) -> bool:
        """None is empty; what is a word may differ between versions of Unicode."""
        return all(symbols)

    @cached_property
    def _ids_of_words(self) -> dict[str, int]:
        return {word: self._first + index for index, word in enumerate(self._plain)}

    @cached_property
    def _texts(self) -> list[str]:
        texts = list(self.symbols)
        if self.unk_id is not None:
            texts[self.unk_id] = UNKNOWN_GLYPH
        return texts

    def encode_pieces(self, pieces: Sequence[str]) -> Ids:
        """The ids of the text that pieces make, (N,); see `Tokenizer.encode_pieces`."""
        # a word and the blank after it are about five characters
        return filled(self._ids_of(pieces), sum(map(len, pieces)) // 2, self.dtype)

    def _ids_of(self, pieces: Iterable[str]) -> Iterator[Ids]:
        get, before = self._ids_of_words.get, 0
        for words in self.cut_pieces(pieces):
            if self.unk_id is None:
                numbers: NDArray[np.int64] = np.array([get(word, -1) for word in words])
                if numbers.min() < 0:
                    which = int(np.argmin(numbers))
                    raise self._unknown_symbol(words[which], before + sum(map(len, words[:which])))
                before += sum(map(len, words))
                yield numbers.astype(self.dtype)
            else:
                yield np.fromiter(map(get, words, repeat(self.unk_id)), dtype=self.dtype, count=len(words))

    def decode(self, ids: ArrayLike) -> str:
        """The text of ids; see `Tokenizer.decode`."""
        return "".join(map(self._texts.__getitem__, self.known_ids(ids).tolist()))

    def unknown_in(self, text: str) -> dict[str, int]:
        """What of a text is not in the vocabulary; see `Tokenizer.unknown_in`."""
        counts = self._count([checked_text(text)], False)
        unknown = {word: count for word, count in counts.items() if word not in self._ids_of_words}
        return dict(sorted(unknown.items(), key=lambda item: (-item[1], item[0])))


class ByteTokenizer(Tokenizer):
    """One symbol is a byte of the text in UTF-8: 256 ids, and nothing is ever unknown."""

    kind: ClassVar[Literal["char", "word", "byte"]] = "byte"
    knows_everything: ClassVar[bool] = True

    @classmethod
    def _count(cls, pieces: Sequence[str], are_documents: bool) -> dict[str, int]:
        counts = np.zeros(256, dtype=np.int64)
        for piece in joined_pieces(pieces):
            counts += np.bincount(np.frombuffer(_utf8(piece), dtype=np.uint8), minlength=256)
        return dict(zip(BYTE_NAMES, counts.tolist(), strict=True))

    @classmethod
    def _vocabulary(cls, counts: Mapping[str, int]) -> list[str]:
        return list(BYTE_NAMES)

    @classmethod
    def fits(cls, symbols: Sequence[str]) -> bool:
        """They are the names of the 256 bytes."""
        return tuple(symbols) == BYTE_NAMES

    def encode_pieces(self, pieces: Sequence[str]) -> Ids:
        """The ids of the text that pieces make, (N,); see `Tokenizer.encode_pieces`."""
        return filled((np.frombuffer(_utf8(piece), dtype=np.uint8) for piece in pieces), sum(map(len, pieces)), self.dtype)

    def decode(self, ids: ArrayLike) -> str:
        """The text of ids; see `Tokenizer.decode`."""
        return self.known_ids(ids).astype(np.uint8).tobytes().decode("utf-8", "replace")

    def decoder(self) -> IncrementalDecoder:
        """A decoder that holds back the bytes of an incomplete character."""
        return _ByteDecoder(self)

    def unknown_in(self, text: str) -> dict[str, int]:
        """What of a text is not in the vocabulary; see `Tokenizer.unknown_in`."""
        return {}


class _ByteDecoder(IncrementalDecoder):
    """Holds back the bytes of a character until its last one has come."""

    holds_back: ClassVar[bool] = True

    def __init__(self, tokenizer: ByteTokenizer) -> None:
        super().__init__(tokenizer)
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, ids: ArrayLike) -> str:
        return self._utf8.decode(self._tokenizer.known_ids(ids).astype(np.uint8).tobytes())

    def flush(self) -> str:
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest

    def copy(self) -> Self:
        twin = type(self)(self._tokenizer)  # type: ignore[arg-type]
        twin._utf8.setstate(self._utf8.getstate())
        return twin


def _utf8(text: str) -> bytes:
    """The bytes of a text.

    Raises:
        UnknownSymbolError: the text holds half a surrogate pair, for which UTF-8 has no bytes.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnknownSymbolError(
            tr(
                "the character {character!r} at position {position:,} is half a surrogate pair, which has no bytes in UTF-8",
                character=text[error.start],
                position=error.start,
            )
        ) from None


TOKENIZERS: dict[str, type[Tokenizer]] = Tokenizer.kinds
"""The tokenizer of each unit."""


def tokenizer_from_json(data: object) -> Tokenizer:
    """The tokenizer that `Tokenizer.to_json` described.

    Args:
        data: what a JSON parser made of tokenizer.json.

    Raises:
        TextError: a key is missing or unknown, a value is of the wrong type, or a symbol stands twice.
    """
    return Tokenizer.from_json(data)
