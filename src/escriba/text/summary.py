"""What a corpus holds, in figures that show themselves.

It knows nothing of how a text is read.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from escriba.language import later, tr, trn
from escriba.text.findings import SHOWN, Duplicates, Mojibake, look
from escriba.text.opening import name_said
from escriba.text.tokenizer import TOKENIZERS, Tokenizer
from escriba.text.tokenizer_json import EOS, UNK

if TYPE_CHECKING:
    from escriba.text.corpus import Corpus, Parts

__all__ = ["Summary", "lines_before_training", "summarized"]

LISTED = 10  # symbols at either end of the vocabulary
PARTS = {"train": later("{count:,} to learn from"), "choosing": later("{count:,} to choose by"), "held_out": later("{count:,} held out")}


@dataclass(frozen=True, repr=False)
class Summary:
    """The figures of a corpus.

    Attributes:
        sources: the names of the sources.
        characters: of all documents.
        documents: their number; None: a stream.
        lengths: of documents, in characters: the least, the median, the greatest; None: a stream.
        unit: "char", "word" or "byte".
        vocabulary: the number of ids, special ones included.
        commonest: the most frequent symbols and how often each stands in the text, most frequent first.
        rarest: the rarest symbols, rarest first.
        parts: the characters of the parts "train", "choosing" and "held_out".
        labels: how many documents begin with each label, the most frequent first; without labels none.
        duplicated_lines: the lines (or documents) that repeat an earlier one.
        suspected_mojibake: what looks like a text read in a wrong encoding, and lost characters, the most frequent first.
        looked_at: of how many characters from the beginning those two are; None: of all.
        notes: what was noticed, as sentences.
    """

    sources: tuple[str, ...]
    characters: int
    documents: int | None
    lengths: tuple[int, float, int] | None
    unit: str
    vocabulary: int
    commonest: tuple[tuple[str, int], ...]
    rarest: tuple[tuple[str, int], ...]
    parts: dict[str, int]
    labels: dict[str, int]
    duplicated_lines: Duplicates
    suspected_mojibake: tuple[Mojibake, ...]
    looked_at: int | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain data for JSON."""
        data = asdict(self)
        data["lengths"] = dict(zip(("min", "median", "max"), self.lengths, strict=True)) if self.lengths else None
        for name in ("commonest", "rarest"):
            data[name] = [{"symbol": symbol, "count": count} for symbol, count in getattr(self, name)]
        data["duplicated_lines"]["examples"] = [{"line": line, "count": count} for line, count in self.duplicated_lines.examples]
        data["suspected_mojibake"] = list(data["suspected_mojibake"])
        return data

    def lines(self) -> list[tuple[str, str]]:
        """What one should see before training, each with its name: the vocabulary, its rarest symbols, the parts."""
        return _lines(self.vocabulary, self.unit, self.rarest, self.parts)

    def __str__(self) -> str:
        read = ", ".join(map(name_said, self.sources[:3]))
        if len(self.sources) > 3:
            read = trn("{listed} and {n:,} more", "{listed} and {n:,} more", len(self.sources) - 3, listed=read)
        rows = [(tr("read"), read), (tr("characters"), f"{self.characters:,}")]
        if self.documents is None or self.lengths is None:
            rows.append((tr("documents"), tr("none: one stream")))
        else:
            least, median, greatest = self.lengths
            said = tr(
                "{documents:,}, of {least:,} to {greatest:,} characters, in the middle {median:,.0f}",
                documents=self.documents,
                least=least,
                greatest=greatest,
                median=median,
            )
            rows.append((tr("documents"), said))
        if self.labels:
            listed = _listed(tuple(self.labels.items())[:LISTED])
            if (left := len(self.labels) - LISTED) > 0:
                listed = trn("{listed}  and {n:,} more", "{listed}  and {n:,} more", left, listed=listed)
            rows.append((tr("labels"), listed))
        vocabulary, *others = self.lines()
        rows += [vocabulary, (tr("commonest"), _listed(self.commonest)), *others]
        if (found := self.duplicated_lines).count:
            said = tr("{count:,} of {of:,} lines, {share:.1%} of the text", count=found.count, of=found.of, share=found.share)
            rows.append((tr("repeated"), f"{self._within(said)}: {', '.join(_times(*example) for example in found.examples)}"))
        for one in self.suspected_mojibake[:SHOWN]:
            meant = tr("a lost character") if one.meant is None else tr("probably {meant!r}", meant=one.meant)
            rows.append((tr("suspected"), self._within(f"{_times(one.found, one.count)}: {meant}")))
        wide = max(len(name) for name, _ in rows)  # a note's name is no longer
        rows += [(tr("note"), note) for note in self.notes]
        return "\n".join(f"{name:<{wide}}  {value}" for name, value in rows)

    def _within(self, said: str) -> str:
        """What was found, with the part of the text in which it was looked for, where that is not all."""
        if self.looked_at is None:
            return said
        return tr("{said} (in the first {looked_at:,} characters)", said=said, looked_at=self.looked_at)

    def __repr__(self) -> str:
        return str(self)


def _times(found: str, count: int) -> str:
    return trn("{found!r} {n:,} times", "{found!r} {n:,} times", count, found=found)


def _listed(counts: tuple[tuple[str, int], ...]) -> str:
    return "  ".join(f"{symbol!r} {count:,}" for symbol, count in counts)


def _lines(vocabulary: int, unit: str, rarest: tuple[tuple[str, int], ...], parts: dict[str, int]) -> list[tuple[str, str]]:
    cut = ", ".join(tr(PARTS[part], count=count) for part, count in parts.items() if count)
    return [
        (tr("vocabulary"), tr("{ids:,} ids of the unit {unit}", ids=vocabulary, unit=unit)),
        *([(tr("rarest"), _listed(rarest))] if rarest else []),
        (tr("parts"), tr("{parts} (characters)", parts=cut)),
    ]


def lines_before_training(parts: Parts, tokenizer: Tokenizer) -> tuple[tuple[str, str], ...]:
    """What `Summary.lines` says, of parts and a tokenizer that are there already."""
    return tuple(_lines(tokenizer.vocab_size, tokenizer.kind, _extremes(tokenizer)[1], _sizes(parts)))


def _extremes(tokenizer: Tokenizer) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]:
    """The commonest symbols and the rarest, each with how often it stands in the text."""
    pairs = zip(tokenizer.symbols, tokenizer.frequencies.tolist(), strict=True)
    counts = [(symbol, count) for symbol, count in pairs if count and symbol not in (UNK, EOS)]
    commonest = sorted(counts, key=lambda item: (-item[1], item[0]))[:LISTED]
    return tuple(commonest), tuple(sorted(counts, key=lambda item: (item[1], item[0]))[:LISTED])


def _sizes(parts: Parts) -> dict[str, int]:
    """The characters of each part."""
    found = {"train": parts.train, "choosing": parts.choosing, "held_out": parts.held_out}
    return {name: part.characters if part else 0 for name, part in found.items()}


def summarized(corpus: Corpus, parts: Parts, tokenizer: Tokenizer | None = None) -> Summary:
    """The figures of a corpus that is cut into these parts; with a tokenizer that was fitted to it already, by its counts."""
    settings = corpus.settings
    if tokenizer is None:
        tokenizer = TOKENIZERS[settings.unit].fit(
            corpus, count_in=parts.whole_train if settings.min_count > 1 or settings.max_vocab_size else None
        )
    commonest, rarest = _extremes(tokenizer)
    lengths = sorted(map(len, corpus.pieces)) if corpus.is_documents else []
    found = corpus.found or look(corpus.pieces, corpus.is_documents)
    return Summary(
        sources=tuple(source.name for source in corpus.sources),
        characters=corpus.characters,
        documents=len(lengths) if corpus.is_documents else None,
        lengths=(lengths[0], float(statistics.median(lengths)), lengths[-1]) if corpus.is_documents else None,
        unit=settings.unit,
        vocabulary=tokenizer.vocab_size,
        commonest=commonest,
        rarest=rarest,
        parts=_sizes(parts),
        labels=corpus.labels,
        duplicated_lines=found.duplicates,
        suspected_mojibake=found.mojibake,
        looked_at=found.looked_at,
        notes=corpus.notes + parts.notes,
    )
