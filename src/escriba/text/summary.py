"""What a corpus holds, in figures that show themselves.

It knows nothing of how a text is read.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from escriba.text.findings import SHOWN, Duplicates, Mojibake, look
from escriba.text.tokenizer import TOKENIZERS, Tokenizer
from escriba.text.tokenizer_json import EOS, UNK

if TYPE_CHECKING:
    from escriba.text.corpus import Corpus, Parts

__all__ = ["Summary", "lines_before_training", "summarized"]

LISTED = 10  # symbols at either end of the vocabulary


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
        more = f" and {len(self.sources) - 3:,} more" if len(self.sources) > 3 else ""
        rows = [("read", ", ".join(self.sources[:3]) + more), ("characters", f"{self.characters:,}")]
        if self.documents is None or self.lengths is None:
            rows.append(("documents", "none: one stream"))
        else:
            least, median, greatest = self.lengths
            rows.append(("documents", f"{self.documents:,}, of {least:,} to {greatest:,} characters, in the middle {median:,.0f}"))
        if self.labels:
            listed = _listed(tuple(self.labels.items())[:LISTED])
            rows.append(("labels", listed + (f"  and {len(self.labels) - LISTED:,} more" if len(self.labels) > LISTED else "")))
        vocabulary, *others = self.lines()
        rows += [vocabulary, ("commonest", _listed(self.commonest)), *others]
        within = "" if self.looked_at is None else f" (in the first {self.looked_at:,} characters)"
        if (found := self.duplicated_lines).count:
            examples = ", ".join(f"{line!r} {count:,} times" for line, count in found.examples)
            rows.append(("repeated", f"{found.count:,} of {found.of:,} lines, {found.share:.1%} of the text{within}: {examples}"))
        for one in self.suspected_mojibake[:SHOWN]:
            meant = "a lost character" if one.meant is None else f"probably {one.meant!r}"
            rows.append(("suspected", f"{one.found!r} {one.count:,} times: {meant}{within}"))
        wide = max(len(name) for name, _ in rows)
        return "\n".join([*(f"{name:<{wide}}  {value}" for name, value in rows), *(f"{'note':<{wide}}  {note}" for note in self.notes)])

    def __repr__(self) -> str:
        return str(self)


def _listed(counts: tuple[tuple[str, int], ...]) -> str:
    return "  ".join(f"{symbol!r} {count:,}" for symbol, count in counts)


def _lines(vocabulary: int, unit: str, rarest: tuple[tuple[str, int], ...], parts: dict[str, int]) -> list[tuple[str, str]]:
    named = {"train": "to learn from", "choosing": "to choose by", "held_out": "held out"}
    return [
        ("vocabulary", f"{vocabulary:,} ids of the unit {unit}"),
        *([("rarest", _listed(rarest))] if rarest else []),
        ("parts", ", ".join(f"{count:,} {named[part]}" for part, count in parts.items() if count) + " (characters)"),
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
