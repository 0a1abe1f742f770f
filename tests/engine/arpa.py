"""A model that counts in the ARPA format, in which other programs read it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from escriba.engine.counts import CountsEngine


def to_arpa(engine: CountsEngine, symbols: Sequence[str], *, begins: int | None = None) -> Iterator[str]:
    """The lines of the model in the ARPA format, which other programs read: the interpolated model in the form that backs off.

    Args:
        engine: the model.
        symbols: a word without blanks for each id, such as "U+0041"; one of them should be "<unk>".
        begins: the id that begins and ends documents, which is then written as "<s>" where it begins, and as "</s>" where it ends.
    """
    grams, log10 = engine.ngrams, math.log(10)
    words = list(symbols)
    first_children = {int(symbol) for symbol in grams.symbols[: grams.children[1]]}
    unseen = [one for one in range(engine.vocab_size) if one not in first_children]
    yield "\\data\\"
    sizes = [size for size in grams.sizes if size]
    for n, size in enumerate(sizes, 1):
        yield f"ngram {n}={size + (len(unseen) + (2 if begins is None else 1) if n == 1 else 0)}"
    texts: list[tuple[str, ...]] = [()]
    for n, (start, end) in enumerate(zip(grams.ends, grams.ends[1:], strict=False), 1):
        yield f"\n\\{n}-grams:"
        if n == 1:
            floor = math.log(engine.gamma[0] / engine.vocab_size) / log10
            yield from (f"{floor:.9g}\t{words[one]}" for one in unseen)
        if n == 1 and begins is None:  # readers of the format want both
            yield from ("-99\t<s>", "-99\t</s>")
        elif n == 1:
            node = int(grams.child(np.zeros(1, np.int64), np.array([begins]), 0)[0])
            yield f"-99\t<s>\t{math.log(engine.gamma[node]) / log10 if node >= 0 else 0:.9g}"
        for node in range(start, end):
            context, symbol = texts[int(grams.parents[node - 1])], int(grams.symbols[node - 1])
            as_begun = ("<s>",) if n == 1 and symbol == begins else (*context, words[symbol])
            texts.append(as_begun)
            word = "</s>" if symbol == begins else words[symbol]
            backoff = "" if n == len(sizes) or as_begun == ("<s>",) else f"\t{math.log(engine.gamma[node]) / log10:.9g}"
            yield f"{math.log(engine.prob[node - 1]) / log10:.9g}\t{' '.join((*context, word))}{backoff}"
    yield "\n\\end\\"
