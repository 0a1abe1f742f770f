"""The lessons' own model in Keras on TensorFlow, for the benchmarks, which run this with a Python that has them.

It is called with the text's file and the numbers that give the shape. It reads numbers of seconds, one a line, alone or behind a word:
"train" trains for so long with model.fit (one step at the least) and answers with a line of JSON, the steps and the seconds they took;
"write" writes one text with the lesson's loop of single steps and answers with its characters a second. It knows nothing of Escriba.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
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


def writer(model: keras.Sequential, vocab_size: int) -> Callable[[float], float]:
    """Writes one text as the lesson does: a compiled function of one step, called once a symbol, the state passed on."""
    embedding, _, dense = model.layers
    model.build((None, None))
    gru = keras.layers.GRU(model.layers[1].units, return_sequences=True, return_state=True)
    gru.build((None, None, embedding.output_dim))
    gru.set_weights(model.layers[1].get_weights())
    mask = tf.constant([[float("-inf")] + [0.0] * (vocab_size - 1)])

    @tf.function
    def one_step(ids: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        output, state = gru(embedding(ids), initial_state=state)
        logits = dense(output)[:, -1] / 0.8 + mask
        return tf.random.categorical(logits, num_samples=1, dtype=tf.int64), state

    def write(seconds: float) -> float:
        ids, state = tf.ones((1, 1), tf.int64), tf.zeros((1, gru.units))
        ids, state = one_step(ids, state)
        began, count, written = time.perf_counter(), 0, []
        while count == 0 or time.perf_counter() - began < seconds:
            ids, state = one_step(ids, state)
            written.append(ids)
            count += 1
        tf.concat(written, 1).numpy()
        return count / (time.perf_counter() - began)

    return write


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
    write = writer(model, vocab_size)
    for line in sys.stdin:
        *order, seconds = line.split()
        if order == ["write"]:
            print(json.dumps({"speed": write(float(seconds))}), flush=True)
            continue
        clock = Clock(float(seconds))
        model.fit(data, steps_per_epoch=1_000_000, epochs=1, verbose=0, shuffle=False, callbacks=[clock])
        print(json.dumps({"steps": clock.steps, "seconds": clock.passed}), flush=True)


if __name__ == "__main__":
    main()
