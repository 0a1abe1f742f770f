"""Cases of `tools/fuzz.py`: the native engines on random models, held to the reference, to themselves, and to what sampling says.

It knows nothing of seeds and processes: a generator of random numbers comes in, `Wrong` is raised where something is not as it should be.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from escriba import _native
from escriba._native.engine import PRECISIONS
from escriba.engine import native as module
from escriba.engine.counts import CountsEngine
from escriba.engine.native import NativeEngine
from escriba.engine.native_counts import NativeCounts
from escriba.engine.protocol import Array, Engine, Ids, State, reading_of, state_rows
from escriba.engine.reference import ReferenceEngine
from escriba.engine.sampling import Sampling, draw, filtered, log_softmax
from escriba.settings import ModelSettings
from escriba.training.counting import count_ngrams
from escriba.weights import state_specs, tensor_specs

Weights = dict[str, npt.NDArray[np.float32]]

CELLS = ("rnn", "gru", "lstm", "mingru", "ngram")
NEAR = {"float32": 1e-4, "bf16": 0.1, "int8": 0.5}
"""How far a log-probability may be from the reference's where a model does not make small errors large."""
WORTH = {"float32": 50.0, "bf16": 20.0, "int8": 40.0}
"""How many times as large as the reference's own error it may be where a model does."""
JUDGED = 3
"""Rows of a batch that are held to the reference, which takes its time; all are held to one another."""


class Wrong(Exception):
    """Something is not as it should be."""


def hold(good: object, *words: object) -> None:
    """Says what is wrong, if it is.

    Raises:
        Wrong: it is.
    """
    if not good:
        raise Wrong(" ".join(map(str, words)))


def flat(state: State) -> list[npt.NDArray[Any]]:
    """The arrays of a state."""
    return [array for layer in state for array in layer]


def same_bits(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Whether two arrays are the same, bit for bit but for the sign of zero; what is not a number is like itself."""
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=True)


def random_size(dice: np.random.Generator, most: int, least: int = 1) -> int:
    """A number from least to most, small ones more often."""
    return int(least + (most - least + 1) * dice.random() ** float(dice.choice([1, 2, 4])) * 0.999999)


def random_settings(dice: np.random.Generator) -> ModelSettings:
    """Every architecture that the native engine knows."""
    cell = str(dice.choice(CELLS))
    residual = bool(dice.random() < 0.45)
    size = random_size(dice, 70)
    named: dict[str, Any] = {"cell": cell, "hidden_size": size, "num_layers": random_size(dice, 3), "residual": residual}
    named["embedding_dim"] = [None, size, random_size(dice, 70)][dice.integers(3)]
    if named["embedding_dim"] == size:
        named["tied"] = bool(dice.random() < 0.4)
    if residual:
        named |= {
            "conv": [None, random_size(dice, 8)][int(dice.random() < 0.7)],
            "mlp": [None, random_size(dice, 3)][int(dice.random() < 0.7)],
        }
    if cell == "gru":
        named["reset"] = str(dice.choice(["after", "before"]))
    if cell == "ngram":
        named |= {"window": random_size(dice, 7), "codes": bool(dice.random() < 0.2) and not residual and not named.get("tied")}
    if cell in {"rnn", "ngram"}:
        named["activation"] = str(dice.choice(["auto", "tanh", "relu", "sigmoid"]))
    return ModelSettings(**named)


def random_weights(dice: np.random.Generator, settings: ModelSettings, vocab: int) -> Weights:
    """Weights of a size that keeps numbers near one, some of them rows of zeros; those that a relu meets again and again do not grow."""
    wide = float(dice.choice([0.3, 1.0, 1.5]))
    weights = {}
    for spec in tensor_specs(settings, vocab):
        array = dice.normal(size=spec.shape) * (wide / np.sqrt(spec.shape[-1]) if len(spec.shape) == 2 else 0.5)
        if spec.name.endswith("norm") or spec.name == "norm.weight":
            array += 1
        if spec.name.endswith("weight_hh") and settings.hidden_activation == "relu":
            array /= max(1.0, float(np.linalg.norm(array, 2)))
        if len(spec.shape) == 2 and dice.random() < 0.1:
            array[dice.integers(len(array))] = 0
        if settings.codes and spec.name == "layers.0.weight_ih":
            array /= vocab
        weights[spec.name] = array.astype(np.float32)
    return weights


def random_state(dice: np.random.Generator, settings: ModelSettings, vocab: int, rows: int) -> State:
    """Zeros, or any other state."""
    wide = float(dice.choice([0.0, 0.9]))
    specs = state_specs(settings, vocab)
    return tuple(tuple(dice.uniform(-wide, wide, (rows, one.size)).astype(np.float32) for one in layer) for layer in specs)


def random_sampling(dice: np.random.Generator, vocab: int) -> Sampling:
    """Every mix of filters; something is always left to draw."""
    banned = tuple(dice.permutation(vocab)[: random_size(dice, min(5, vocab - 1), 0)].tolist()) if dice.random() < 0.3 else ()
    return Sampling(
        temperature=float(dice.choice([0.0, 1e-3, 0.3, 0.8, 1.0, 1.0, 3.0, 100.0])),
        top_k=[None, random_size(dice, vocab + 3)][int(dice.random() < 0.4)],
        top_p=[None, float(dice.choice([1e-9, 0.2, 0.9, 0.999, 1.0]))][int(dice.random() < 0.4)],
        min_p=[None, float(dice.choice([0.0, 0.02, 0.4, 1.0]))][int(dice.random() < 0.3)],
        banned=banned,
    )


def some_batch(dice: np.random.Generator, vocab: int, most_rows: int = 70, most_steps: int = 60) -> Ids:
    """Ids (B, T), of which rows times steps are seldom many."""
    rows, steps = random_size(dice, most_rows), random_size(dice, most_steps)
    if rows * steps > 600 and dice.random() < 0.8:
        steps = max(1, 600 // rows)
    return dice.integers(0, vocab, (rows, steps))


def neural(dice: np.random.Generator) -> str:
    """One network: all that the engine does with it. Gives what was tried, in words."""
    settings, vocab = random_settings(dice), random_size(dice, 300)
    weights = random_weights(dice, settings, vocab)
    precision, level = str(dice.choice(list(PRECISIONS))), str(dice.choice(_native.levels()))
    threads, parting = int(dice.integers(1, 5)), int(dice.integers(3))
    limits = {"_TABLE_BYTES": 0, "_ROWS_PER_CALL": int(dice.integers(1, 9)), "_WORK_PER_CALL": 10.0 ** dice.integers(3, 7)}
    limits = {name: value for name, value in limits.items() if dice.random() < 0.2}
    ids = some_batch(dice, vocab)
    shown = {name: value for name, value in settings.as_dict().items() if value != type(settings).fields[name].default}
    words = f"{shown} V {vocab} {precision} {level} threads {threads} parting {parting} {limits} B, T {ids.shape}"
    usual = {name: getattr(module, name) for name in limits}
    try:
        for name, value in limits.items():
            setattr(module, name, value)
        engine = NativeEngine(settings, vocab, weights, precision=precision, threads=threads, level=level)
        engine._held.parting = parting
        state = random_state(dice, settings, vocab, len(ids))
        hold_to_itself(dice, engine, ids, state)
        hold_to_reference(engine, weights, ids, state, JUDGED)
        hold_writing(dice, engine, ids, state)
    except Wrong as wrong:
        raise Wrong(f"{wrong}: {words}") from None
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}: {words}") from error
    finally:
        for name, value in usual.items():
            setattr(module, name, value)
    return words


def hold_to_itself(dice: np.random.Generator, engine: Engine, ids: Ids, state: State) -> None:
    """The laws: step by step, in pieces, fed, read, alone, and with the state as it was."""
    before = [array.copy() for array in flat(state)]
    (B, T), vocab = ids.shape, engine.vocab_size
    logits, after = engine.advance(ids, state)
    hold(logits.shape == (B, T, vocab) and np.isfinite(logits).all(), "logits of the shape", logits.shape, "or not finite")
    cut = int(dice.integers(0, T + 1))
    fed = engine.feed(ids[:, :cut], state)
    if cut < T:
        rest, fed = engine.advance(ids[:, cut:], fed)
        hold(same_bits(rest, logits[:, cut:]), "logits after a cut at", cut, float(np.abs(rest - logits[:, cut:]).max()))
    hold(all(map(same_bits, flat(fed), flat(after))), "state after a cut at", cut)
    hold(all(map(same_bits, flat(engine.feed(ids, state)), flat(after))), "state of feed")
    stepped, own = [], state
    for t in range(min(T, 3)):
        one, own = engine.step(ids[:, t], own)
        stepped.append(one)
    hold(same_bits(np.stack(stepped, 1), logits[:, :3]), "logits of step")
    rows = np.sort(dice.permutation(B)[: random_size(dice, B)])
    some, some_after = engine.advance(np.asfortranarray(ids[rows]), state_rows(state, rows))
    if engine.precision in {"float32", "float64"}:
        hold(same_bits(some, logits[rows]), "logits of rows", rows)
        hold(all(map(same_bits, flat(some_after), flat(state_rows(after, rows)))), "states of rows", rows)
    targets = dice.integers(0, vocab, ids.shape)
    ranks, top = bool(dice.random() < 0.5), random_size(dice, vocab) if dice.random() < 0.1 else 0
    found, then = engine.read(ids, targets, state, ranks=ranks, top=top)
    wanted = reading_of(logits, targets, ranks=ranks, top=top)
    hold(np.abs(found.log_probs - wanted.log_probs).max() <= 3e-6, "read", np.abs(found.log_probs - wanted.log_probs).max())
    if found.ranks is not None and wanted.ranks is not None:
        hold(same_bits(found.ranks, wanted.ranks), "ranks")
    if found.top_ids is not None and wanted.top_ids is not None:
        hold(same_bits(found.top_ids, wanted.top_ids), "the likeliest")
    hold(all(map(same_bits, flat(then), flat(after))), "state of read")
    hold(all(map(same_bits, before, flat(state))), "the state that was given has changed")


def hold_to_reference(engine: NativeEngine, weights: Weights, ids: Ids, state: State, rows: int) -> None:
    """The first rows' log-probabilities and states, beside those of the equations in float64."""
    ids, state = ids[:rows], state_rows(state, range(min(rows, len(ids))))
    judge = ReferenceEngine(engine.settings, weights, dtype=np.float64)
    logits, after = engine.advance(ids, state)
    wanted_logits, wanted_after = judge.advance(ids, state)
    error = far(logits, wanted_logits)
    if error <= NEAR[engine.precision]:
        worst = max(
            (float(np.abs(one - other).max(initial=0)) for one, other in zip(flat(after), flat(wanted_after), strict=True)), default=0.0
        )
        if worst <= NEAR[engine.precision] * 5:
            return
    if engine.precision == "float32":
        yardsticks = [ReferenceEngine(engine.settings, weights).advance(ids, state)]
    else:
        changed = [{name: disturbed(one, engine.precision, seed) for name, one in weights.items()} for seed in range(4)]
        yardsticks = [ReferenceEngine(engine.settings, one, dtype=np.float64).advance(ids, state) for one in changed]
    worth = WORTH[engine.precision]
    allowed = max(NEAR[engine.precision], worth * max(far(one, wanted_logits) for one, _ in yardsticks))
    hold(error <= allowed, "log-probabilities are", error, "from the reference's, and", allowed, "is allowed")
    for at, (one, other) in enumerate(zip(flat(after), flat(wanted_after), strict=True)):
        away, *its_away = (float(np.abs(array - other).max(initial=0)) for array in (one, *(flat(its)[at] for _, its in yardsticks)))
        least = NEAR[engine.precision] * max(1.0, float(np.abs(other).max(initial=0)))
        hold(away <= max(least, worth * max(its_away)), "a state is", away, "from the reference's, and its own", max(its_away))


def far(one: Array, other: Array) -> float:
    """The largest difference of log-probabilities."""
    return float(np.abs(log_softmax(one) - log_softmax(other)).max())


def disturbed(weight: npt.NDArray[np.float32], precision: str, seed: int) -> npt.NDArray[np.float32]:
    """A matrix, each number as far from where it was as a short precision may put it."""
    if weight.ndim != 2:
        return weight
    size = np.abs(weight) / 256 if precision == "bf16" else np.abs(weight).max(-1, keepdims=True) / 254
    noise = np.random.default_rng(seed).uniform(-1, 1, weight.shape)
    return (weight + size * noise).astype(np.float32)


def hold_writing(dice: np.random.Generator, engine: Engine, ids: Ids, state: State) -> None:
    """What is written, beside what sampling draws from the logits of the very same texts."""
    rows, steps, vocab = len(ids), random_size(dice, 20, 0), engine.vocab_size
    samplings = [random_sampling(dice, vocab) for _ in range(rows)]
    uniforms = dice.random((rows, steps))
    if steps and dice.random() < 0.2:
        uniforms[dice.integers(rows), dice.integers(steps)] = dice.choice([0.0, np.nextafter(1, 0)])
    written, log_probs, after = engine.write(ids[:, 0], state, samplings, uniforms)
    hold(written.shape == log_probs.shape == (rows, steps), "written of the shape", written.shape)
    if steps == 0:
        hold(all(map(same_bits, flat(after), flat(state))), "state after nothing was written")
        return
    hold(written.min() >= 0 and written.max() < vocab, "an id was written that is not in the vocabulary")
    again = np.concatenate([ids[:, :1], written[:, :-1]], 1)
    logits, then = engine.advance(again, state)
    hold(all(map(same_bits, flat(after), flat(then))), "state after writing")
    places = [(b, t) for b in range(rows) for t in range(steps)]
    for b, t in [places[at] for at in dice.permutation(len(places))[:60]]:
        hold_draw(logits[b, t], samplings[b], float(uniforms[b, t]), int(written[b, t]), float(log_probs[b, t]))


def hold_draw(logits: Array, sampling: Sampling, uniform: float, met: int, log_prob: float) -> None:
    """One symbol that was drawn: it may be another only where uniform or filters stand at a boundary."""
    its = log_softmax(logits)
    hold(abs(log_prob - its[met]) <= 3e-6, "its log-probability is", log_prob, "and not", its[met])
    hold(met not in sampling.banned, "a symbol was written that is banned:", met)
    little = 1e-6
    near = [sampling]
    if sampling.top_p:
        near += [dataclasses.replace(sampling, top_p=min(1.0, max(1e-12, sampling.top_p + by))) for by in (little, -little)]
    if sampling.min_p:
        near += [dataclasses.replace(one, min_p=min(1.0, sampling.min_p * by)) for one in tuple(near) for by in (1 + little, 1 - little)]
    for one in near:
        probs = filtered(logits, one)
        end = float(probs[: met + 1].sum())
        if probs[met] > 0 and end - probs[met] - little <= uniform <= end + little:
            return
    hold(False, "drawn", met, "and not", draw(filtered(logits, sampling), uniform), "by", sampling, "at", uniform)


def counting(dice: np.random.Generator) -> str:
    """One n-gram that counts, native and with NumPy."""
    vocab, order, length = random_size(dice, 300), int(dice.integers(1, 9)), random_size(dice, 600)
    words = [dice.integers(0, vocab, dice.integers(1, 6)) for _ in range(random_size(dice, 40))]
    text: Ids = np.concatenate([words[dice.integers(len(words))] for _ in range(length)])[:length]
    kind = np.uint8 if vocab <= 256 and dice.random() < 0.5 else np.uint16
    weights = count_ngrams(text.astype(kind), vocab, order)
    settings = ModelSettings(cell="counts", order=order)
    ids, threads = some_batch(dice, vocab), int(dice.integers(1, 5))
    said = f"counts V {vocab} order {order} length {length} threads {threads} B, T {ids.shape}"
    try:
        reference, native = CountsEngine(settings, vocab, weights), NativeCounts(settings, vocab, weights, threads=threads)
        lived = length - int(dice.integers(0, min(length, 9)))
        state = reference.feed(np.broadcast_to(text[lived:], (len(ids), length - lived)), reference.initial_state(len(ids)))
        if dice.random() < 0.5:
            ids[:, :length] = text[: ids.shape[1]]
        hold_to_itself(dice, native, ids, state)
        logits, after = native.advance(ids, state)
        wanted, wanted_after = reference.advance(ids, state)
        hold(np.abs(logits - wanted).max() <= 1e-11, "log-probabilities are", float(np.abs(logits - wanted).max()), "from the reference's")
        hold(same_bits(after[0][0], wanted_after[0][0]), "nodes")
        targets = dice.integers(0, vocab, ids.shape)
        one, other = (engine.read(ids, targets, state)[0].log_probs for engine in (native, reference))
        hold(np.abs(one - other).max() <= 1e-11, "read beside the reference")
        hold_writing(dice, native, ids, state)
    except Wrong as wrong:
        raise Wrong(f"{wrong}: {said}") from None
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}: {said}") from error
    return said
