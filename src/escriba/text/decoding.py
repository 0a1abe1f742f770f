"""Turns bytes into text as they come: byte-order marks, encodings, what to say when they do not fit.

It knows nothing of where the bytes come from.
"""

from __future__ import annotations

import codecs
import contextlib
import encodings.aliases
import itertools
import re
from collections.abc import Iterable, Iterator

from escriba.errors import TextDecodingError, TextError, near_name
from escriba.language import later, tr

__all__ = ["Decoding"]

# the longer marks first: that of UTF-32-LE begins with that of UTF-16-LE
MARKS = {
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}
NOT_TEXT = {
    b"PK\x03\x04": later("a zip archive or an office document (.docx, .odt, .epub)"),
    b"%PDF": later("a PDF"),
    b"\xd0\xcf\x11\xe0": later("an old office document (.doc, .xls)"),
    b"\x89PNG": later("an image"),
    b"\xff\xd8\xff": later("an image"),
    b"SQLite format 3": later("a database"),
}
GUESSED = [
    *("latin_1", "cp1252", "iso8859_2", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "mac_roman", "cp437"),
]
SAMPLE = 32_768  # bytes on either side of the fault that the guess looks at
HALF_PAIR = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")


class Decoding:
    """One text on its way from bytes to characters.

    Attributes:
        used: the encoding; before the first bytes, the one that was asked for.
        size: the bytes so far.
        notes: what was noticed, as sentences.
    """

    def __init__(self, encoding: str, name: str) -> None:
        self.asked = encoding
        self.name = name
        self.used = _codec(encoding)
        self.size = 0
        self.notes: list[str] = []
        self._characters = 0
        self._line_ends = 0
        self._after_cr = False

    def texts(self, chunks: Iterable[bytes]) -> Iterator[str]:
        """The text of bytes that come in chunks, without a byte-order mark.

        Where UTF-8 was asked for, or nothing, the mark says the encoding.

        Raises:
            TextError: there is no such encoding, or the bytes are no text.
            TextDecodingError: the bytes are not in the encoding; it names the byte offset and the line.
        """
        chunks = iter(chunks)
        first = next(chunks, b"")
        self._begin(first)
        decoder, tail = self._decoder(), b""
        for chunk in itertools.chain([first], chunks, [b""]):
            self.size += len(chunk)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeError as error:
                raise self._fault(error, tail, next(chunks, b"")) from None
            if not self._characters:
                text = text.removeprefix("\ufeff")
            if "\0" in text:
                raise self._binary(first, self._characters + text.index("\0"))
            tail = chunk[-SAMPLE:]
            self._count(text)
            if text:
                yield text

    def _begin(self, first: bytes) -> None:
        """Looks at the first bytes: what they say of the encoding, or whether this is no text."""
        for magic, what in NOT_TEXT.items():
            if first.startswith(magic):
                raise TextError(
                    tr("{name} is {what}, not a text", name=self.name, what=tr(what)), hint=tr("save it as plain text (.txt, UTF-8) first")
                )
        marked = next((one for one, mark in MARKS.items() if first.startswith(mark)), None)
        if marked and self.used == "utf-8":
            self.used = marked
            if marked != "utf-8":
                said = tr("{name} begins with the byte-order mark of {encoding} and was read so.", name=self.name, encoding=marked)
                self.notes.append(said)
        elif marked == "utf-8" and not self.used.startswith("utf"):
            said = tr("{name} begins with the byte-order mark of utf-8, but was read as {encoding}.", name=self.name, encoding=self.asked)
            self.notes.append(said)
        elif self.used in ("utf-16", "utf-32"):
            # the order of the bytes is the mark's; without one that of nearly all machines, on every machine
            self.used = marked if marked and marked.startswith(self.used) else f"{self.used}-le"

    def _decoder(self) -> codecs.IncrementalDecoder:
        try:
            with contextlib.suppress(UnicodeError):
                b"a".decode(self.used, "replace")  # refuses what Python calls a codec but is no encoding of texts
            return codecs.getincrementaldecoder(self.used)()
        except LookupError:
            raise TextError(
                tr("{encoding!r} is not an encoding of texts", encoding=self.asked),
                expected=tr("one such as utf-8, latin-1, cp1252, gb18030"),
            ) from None

    def _count(self, text: str) -> None:
        self._characters += len(text)
        self._line_ends += text.count("\n")
        if "\r" in text:
            self._line_ends += text.count("\r") - text.count("\r\n")
        if self._after_cr and text.startswith("\n"):
            self._line_ends -= 1
        self._after_cr = text.endswith("\r") if text else self._after_cr

    def _fault(self, error: UnicodeError, before: bytes, after: bytes) -> TextDecodingError:
        if not isinstance(error, UnicodeDecodeError):
            return TextDecodingError(tr("{name} is not in {encoding}: {reason}", name=self.name, encoding=self.used, reason=error))
        data, at = error.object, error.start
        offset = self.size - len(data) + at
        self._count(data[:at].decode(self.used, "ignore"))
        met = tr(
            "{name}: the byte 0x{byte:02x} at offset {offset:,}, in line {line:,}, does not belong there in {encoding}",
            name=self.name,
            byte=data[at],
            offset=offset,
            line=self._line_ends + 1,
            encoding=self.used,
        )
        if self.used == "utf-8" and HALF_PAIR.match(data, at):
            hint = tr("it is half of a surrogate pair (CESU-8, as some databases write): save the text anew, as UTF-8")
        else:
            sample = before + data
            at += len(before)
            guess = _guess((sample + after)[max(0, at - SAMPLE) : at + SAMPLE])
            hint = tr("say the encoding: --encoding NAME")
            if guess and guess != self.used:
                hint = tr('it looks like {guess}: --encoding {guess} (in Python encoding="{guess}")', guess=guess)
        return TextDecodingError(met, expected=tr("a text in {encoding}", encoding=self.used), hint=hint)

    def _binary(self, data: bytes, where: int) -> TextError:
        even, odd = data[0:4096:2], data[1:4096:2]
        guess = None
        if self.used == "utf-8" and len(odd) > 1:
            # Latin letters in UTF-16 have a zero for every other byte
            guess = "utf-16-le" if odd.count(0) > len(odd) // 2 > even.count(0) else None
            guess = "utf-16-be" if even.count(0) > len(even) // 2 > odd.count(0) else guess
        return TextError(
            tr("{name} holds zero bytes (the first after {characters:,} characters), as no text does", name=self.name, characters=where),
            expected=tr("a text in {encoding}", encoding=self.used),
            hint=tr("it looks like {guess}: --encoding {guess}", guess=guess) if guess else tr("is it a text at all?"),
        )


def _codec(encoding: str) -> str:
    """The usual name of an encoding."""
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        near = near_name(encoding.lower(), [*encodings.aliases.aliases, *encodings.aliases.aliases.values(), "latin-1", "utf-8"])
        raise TextError(
            tr("there is no encoding {encoding!r}", encoding=encoding),
            expected=tr("one such as utf-8, latin-1, cp1252, gb18030"),
            hint=tr("did you mean {near!r}?", near=near) if near else None,
        ) from None
    return {"utf-8-sig": "utf-8", "iso8859-1": "latin-1"}.get(name, name)


def _guess(sample: bytes) -> str | None:
    """The likeliest encoding of a sample."""
    from charset_normalizer import from_bytes

    fits = [one for one in from_bytes(sample, cp_isolation=GUESSED) if one.encoding in GUESSED]
    if not fits:
        return None
    best = {one.encoding for one in fits if (one.chaos, one.coherence) == (fits[0].chaos, fits[0].coherence)}
    if best & {"latin_1", "cp1252"}:
        # the two differ in 0x80 to 0x9f alone, which Latin-1 leaves to control characters
        return "cp1252" if re.search(rb"[\x80-\x9f]", sample) else "latin-1"
    return fits[0].encoding.replace("_", "-")
