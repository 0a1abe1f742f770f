"""A text as integers: one stream, or documents one after another.

It knows nothing of how the integers are cut into examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from escriba.errors import TextError
from escriba.language import tr
from escriba.text.vocabulary import Ids, Tokenizer

__all__ = ["EncodedText"]


@dataclass(frozen=True, eq=False)
class EncodedText:
    """The ids of a text.

    Attributes:
        ids: the ids of all documents one after another, (N,), without any ``<eos>``; uint8, uint16 or uint32.
        offsets: where each document begins and the last one ends, int64, (D + 1,); None: a stream.
        tokenizer: what the ids mean.
    """

    ids: Ids
    offsets: NDArray[np.int64] | None
    tokenizer: Tokenizer

    def __len__(self) -> int:
        return len(self.ids)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.ids, dtype=dtype) if copy else np.asarray(self.ids, dtype=dtype)

    @property
    def count(self) -> int:
        """The number of documents; a stream is one."""
        return 1 if self.offsets is None else len(self.offsets) - 1

    def document(self, i: int) -> Ids:
        """The ids of document `i`, from 0; a stream is the document 0.

        Raises:
            TextError: there is no such document.
        """
        if not 0 <= i < self.count:
            raise TextError(tr("there is no document {number}", number=i), expected=tr("0 to {last}", last=self.count - 1))
        return self.ids if self.offsets is None else self.ids[self.offsets[i] : self.offsets[i + 1]]

    def with_ends(self) -> Ids:
        """The ids with ``<eos>`` before each document and after the last: one ``<eos>`` ends one and begins the next.

        Returns:
            ids, (N + D + 1,); those of a stream as they are, (N,).

        Raises:
            TextError: the tokenizer of documents has no ``<eos>``.
        """
        if self.offsets is None:
            return self.ids
        if self.tokenizer.eos_id is None:
            raise TextError(tr("these are documents, but the tokenizer has no <eos>"), hint=tr("make it with fit(..., eos=True)"))
        return np.insert(self.ids, self.offsets, self.tokenizer.eos_id)

    def __repr__(self) -> str:
        what = "one stream" if self.offsets is None else f"{self.count:,} documents"
        return f"<EncodedText: {len(self):,} ids ({self.ids.dtype}), {what}>"
