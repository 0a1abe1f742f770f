"""What a corpus holds, in figures that show themselves.

It knows nothing of how a text is read.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from escriba.text.tokenizer import TOKENIZERS
from escriba.text.tokenizer_json import EOS, UNK

if TYPE_CHECKING:
    from escriba.text.corpus import Corpus, Parts

__all__ = ["Summary", "summarized"]

RAREST = 10


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
        rarest: the rarest symbols and how often each stands in the text, rarest first.
        parts: the characters of the parts "train", "choosing" and "held_out".
        notes: what was noticed, as sentences.
    """

    sources: tuple[str, ...]
    characters: int
    documents: int | None
    lengths: tuple[int, float, int] | None
    unit: str
    vocabulary: int
    rarest: tuple[tuple[str, int], ...]
    parts: dict[str, int]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain data for JSON."""
        data = asdict(self)
        data["lengths"] = dict(zip(("min", "median", "max"), self.lengths, strict=True)) if self.lengths else None
        data["rarest"] = [{"symbol": symbol, "count": count} for symbol, count in self.rarest]
        return data

    def __str__(self) -> str:
        more = f" and {len(self.sources) - 3:,} more" if len(self.sources) > 3 else ""
        rows = [("read", ", ".join(self.sources[:3]) + more), ("characters", f"{self.characters:,}")]
        if self.documents is None or self.lengths is None:
            rows.append(("documents", "none: one stream"))
        else:
            least, median, greatest = self.lengths
            rows.append(("documents", f"{self.documents:,}, of {least:,} to {greatest:,} characters, in the middle {median:,.0f}"))
        rows.append(("vocabulary", f"{self.vocabulary:,} ids of the unit {self.unit}"))
        if self.rarest:
            rows.append(("rarest", "  ".join(f"{symbol!r} {count:,}" for symbol, count in self.rarest)))
        named = {"train": "to learn from", "choosing": "to choose by", "held_out": "held out"}
        rows.append(("parts", ", ".join(f"{count:,} {named[part]}" for part, count in self.parts.items() if count)))
        wide = max(len(name) for name, _ in rows)
        return "\n".join([*(f"{name:<{wide}}  {value}" for name, value in rows), *(f"{'note':<{wide}}  {note}" for note in self.notes)])

    def __repr__(self) -> str:
        return str(self)


def summarized(corpus: Corpus, parts: Parts) -> Summary:
    """The figures of a corpus that is cut into these parts."""
    settings = corpus.settings
    tokenizer = TOKENIZERS[settings.unit].fit(corpus, count_in=parts.whole_train if settings.min_count > 1 else None)
    pairs = zip(tokenizer.symbols, tokenizer.frequencies.tolist(), strict=True)
    counts = [(symbol, count) for symbol, count in pairs if count and symbol not in (UNK, EOS)]
    lengths = sorted(map(len, corpus.documents))
    return Summary(
        sources=tuple(source.name for source in corpus.sources),
        characters=corpus.characters,
        documents=len(lengths) if corpus.is_documents else None,
        lengths=(lengths[0], float(statistics.median(lengths)), lengths[-1]) if corpus.is_documents else None,
        unit=settings.unit,
        vocabulary=tokenizer.vocab_size,
        rarest=tuple(sorted(counts, key=lambda item: (item[1], item[0]))[:RAREST]),
        parts={
            "train": parts.train.characters,
            "choosing": parts.choosing.characters if parts.choosing else 0,
            "held_out": parts.held_out.characters if parts.held_out else 0,
        },
        notes=corpus.notes + parts.notes,
    )
