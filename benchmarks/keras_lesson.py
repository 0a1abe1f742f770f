"""The lessons' own model and training in Keras on TensorFlow, for `bench_training.py`, which runs this with a Python that has them.

It is called with the text's file and the numbers that give the shape. It reads numbers of seconds, one a line, trains for so long with
model.fit (one step at the least), and answers each with a line of JSON: the steps and the seconds they took. It knows nothing of Escriba.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class Clock(keras.callbacks.Callback):
    """Stops a fit when its time is over; the first step, in which Keras prepares itself, is not counted."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.steps, self.began, self.passed = seconds, -1, 0.0, 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts a step."""
        self.steps += 1
        if self.steps == 0:
            self.began = time.perf_counter()
        self.passed = time.perf_counter() - self.began
        if self.steps and self.passed >= self.seconds:
            self.model.stop_training = True


def main() -> None:
    """Waits for orders."""
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    number = {character: index for index, character in enumerate(sorted(set(text)), 1)}
    ids = np.array([number[character] for character in text])
    vocab_size, batch_size, length, embedding_dim, hidden_size = map(int, sys.argv[2:])
    pieces = tf.data.Dataset.from_tensor_slices(ids).batch(length + 1, drop_remainder=True)
    examples = pieces.map(lambda piece: (piece[:-1], piece[1:]))
    data = examples.shuffle(10_000).batch(batch_size, drop_remainder=True).repeat().prefetch(tf.data.AUTOTUNE)
    model = keras.Sequential(
        [
            keras.layers.Embedding(vocab_size, embedding_dim),
            keras.layers.GRU(hidden_size, return_sequences=True),
            keras.layers.Dense(vocab_size),
        ]
    )
    model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for line in sys.stdin:
        clock = Clock(float(line))
        model.fit(data, steps_per_epoch=1_000_000, epochs=1, verbose=0, shuffle=False, callbacks=[clock])
        print(json.dumps({"steps": clock.steps, "seconds": clock.passed}), flush=True)


if __name__ == "__main__":
    main()
