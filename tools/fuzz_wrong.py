"""Cases of `tools/fuzz.py`: what does not fit is given to the native engines, which must say so in words, or give the right numbers.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from escriba.engine.counts import CountsEngine
from escriba.engine.native import NativeEngine
from escriba.engine.native_counts import NativeCounts
from escriba.engine.protocol import Engine, State
from escriba.engine.reference import ReferenceEngine
from escriba.engine.sampling import Sampling
from escriba.errors import EscribaError
from escriba.settings import ModelSettings
from escriba.training.counting import count_ngrams
from fuzz_engine import Wrong, flat, hold, random_settings, random_size, random_state, random_weights

Dice = np.random.Generator


def refused(words: str, call: Callable[[], object]) -> str:
    """Holds a call to an error in words. Gives the words of what was tried.

    Raises:
        Wrong: it was done, or failed with another error.
    """
    try:
        given = call()
    except EscribaError as error:
        hold(str(error), "an error without words:", words)
        return words
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}: {words}") from error
    raise Wrong(f"it was done, and gave {str(given)[:200]}: {words}")


def refused_input(dice: Dice) -> str:
    """One fault in what is given to a call of an engine."""
    engine, other = some_engine(dice), some_engine(dice)
    rows, steps, vocab = random_size(dice, 9), random_size(dice, 9), engine.vocab_size
    faults = [wrong_ids, wrong_rows, wrong_state, wrong_draws]
    return faults[dice.integers(len(faults))](dice, engine, other, rows, steps) + f" of V {vocab}, B {rows}, T {steps}"


def some_engine(dice: Dice) -> NativeEngine | NativeCounts:
    """A small engine, whose state is seldom like another's."""
    vocab = random_size(dice, 40)
    if dice.random() < 0.2:
        settings = ModelSettings(cell="counts", order=int(dice.integers(1, 6)))
        text = dice.integers(0, vocab, 100).astype(np.uint8)
        return NativeCounts(settings, vocab, count_ngrams(text, vocab, settings.order), threads=2)
    settings = random_settings(dice)
    precision = str(dice.choice(["float32", "bf16", "int8"]))
    return NativeEngine(settings, vocab, random_weights(dice, settings, vocab), precision=precision, threads=2)


def calls(dice: Dice, engine: Engine, ids: Any, state: Any, rows: int, steps: int) -> Callable[[], object]:
    """One of the calls that reads ids (B, T)."""
    good = np.zeros((rows, steps), np.int64)
    ways: list[Callable[[], object]] = [
        lambda: engine.advance(ids, state),
        lambda: engine.feed(ids, state),
        lambda: engine.read(ids, good, state, ranks=bool(dice.random() < 0.5)),
        lambda: engine.read(good, ids, state),
        lambda: engine.read(ids, good, state, top=1),
    ]
    return ways[dice.integers(len(ways))]


def wrong_ids(dice: Dice, engine: Engine, _: Engine, rows: int, steps: int) -> str:
    """Ids outside the vocabulary, or of another kind."""
    vocab, state = engine.vocab_size, engine.initial_state(rows)
    wrong: Any = [-1, vocab, vocab + 1, 2**31, 2**32, 2**63 - 1, -(2**63), -(2**31), 2**63, 2**64 - 1, 0.0, True, "a", None, 1j, np.nan][
        dice.integers(16)
    ]
    kind = type(wrong) if not isinstance(wrong, int) or isinstance(wrong, bool) else np.uint64 if wrong >= 2**63 else np.int64
    ids = np.zeros((rows, steps), object if wrong is None else "U1" if wrong == "a" else kind)
    ids[dice.integers(rows), dice.integers(steps)] = wrong
    words = f"an id {wrong!r}"
    if dice.random() < 0.2:
        return refused(words + " in step", lambda: engine.step(ids.ravel()[:rows] if steps == 1 else np.full(rows, wrong), state))
    if dice.random() < 0.2:
        uniforms, samplings = np.full((rows, steps), 0.5), [Sampling()] * rows
        return refused(words + " in write", lambda: engine.write(np.full(rows, wrong, ids.dtype), state, samplings, uniforms))
    return refused(words, calls(dice, engine, ids, state, rows, steps))


def wrong_rows(dice: Dice, engine: Engine, _: Engine, rows: int, steps: int) -> str:
    """Ids of other axes or rows than the state."""
    state = engine.initial_state(rows)
    shapes = [(rows + 1, steps), (rows, steps, 1), (), (rows * steps + 1,), (rows + 1,), (0, steps)]
    shape = shapes[dice.integers(len(shapes))]
    if dice.random() < 0.3:
        shape = (rows, 1) if shape == (rows + 1,) else shape
        return refused(f"ids {shape} in step", lambda: engine.step(np.zeros(shape, np.int64), state))
    return refused(f"ids {shape}", calls(dice, engine, np.zeros(shape, np.int64), state, rows, steps))


def wrong_state(dice: Dice, engine: Engine, other: Engine, rows: int, steps: int) -> str:
    """States of another model, or of no model."""
    state, foreign = engine.initial_state(rows), other.initial_state(rows)
    shapes = [[array.shape for array in layer] for layer in state]
    broken: list[State] = [state[:-1], (*state, state[-1]), (state[0][:-1], *state[1:]), ((*state[0], state[0][0]), *state[1:])]
    broken.append(tuple(tuple(np.concatenate([array, array[:1]]) if at else array for array in layer) for at, layer in enumerate(state)))
    broken.append(tuple(tuple(array[:, None] for array in layer) for layer in state))
    broken += [foreign, ()]
    given = broken[dice.integers(len(broken))]
    given_shapes = [[array.shape for array in layer] for layer in given]
    kinds = [array.dtype.kind for array in flat(given)]
    if given_shapes == shapes and kinds == [array.dtype.kind for array in flat(state)]:
        return "a state that fits by chance"
    ids, words = np.zeros((rows, steps), np.int64), f"a state of {given_shapes} {''.join(kinds)} for {shapes}, {type(engine).__name__}"
    return refused(words, calls(dice, engine, ids, given, rows, steps))


def wrong_draws(dice: Dice, engine: Engine, _: Engine, rows: int, steps: int) -> str:
    """Uniforms, samplings and bans that do not fit, and nothing left to draw."""
    vocab, state, uniforms, samplings = engine.vocab_size, engine.initial_state(rows), dice.random((rows, steps)), [Sampling()] * rows
    what, row = int(dice.integers(6)), int(dice.integers(rows))
    if what == 0:
        wrong = float(dice.choice([1.0, -1e-300, np.nan, np.inf, -np.inf, 2.0]))
        uniforms[row, dice.integers(steps)], words = wrong, f"a uniform {wrong!r}"
    elif what == 1:
        uniforms, words = [uniforms[:-1], uniforms[0], np.concatenate([uniforms, uniforms])][dice.integers(3)], "uniforms of other rows"
    elif what == 2:
        samplings, words = samplings[:-1], "a sampling less than rows"
    elif what == 3:
        ban = [-1, vocab, 2**31, 2**32, 2**63, -(2**63)][dice.integers(6)]
        samplings[row], words = Sampling(banned=(ban,)), f"the ban {ban}"
    elif what == 4:
        samplings[row], words = Sampling(float(dice.choice([0.0, 1.0])), banned=tuple(range(vocab))), "all banned"
    else:
        name, value = [("temperature", -1.0), ("temperature", np.nan), ("top_k", 0), ("top_p", 0.0), ("min_p", 1.1)][dice.integers(5)]
        return refused(f"{name} {value}", lambda: Sampling(**{name: value}))  # type: ignore[arg-type]  # they are wrong
    return refused(f"{words}, {type(engine).__name__}", lambda: engine.write(np.zeros(rows, np.int64), state, samplings, uniforms))


def refused_weights(dice: Dice) -> str:
    """One fault in the weights from which an engine is made."""
    settings, vocab = random_settings(dice), random_size(dice, 40)
    weights: dict[str, Any] = dict(random_weights(dice, settings, vocab))
    name = str(dice.choice(list(weights)))
    array, words = weights[name].copy(), ""
    what = int(dice.integers(5))
    if what == 0:
        value = float(dice.choice([np.nan, np.inf, -np.inf]))
        array.flat[dice.integers(array.size)], words = value, f"{name} holds {value}"
    elif what == 1:
        array, words = array.astype(np.float64), f"{name} holds 1e300"
        array.flat[dice.integers(array.size)] = 1e300
    elif what == 2:
        array, words = [array[..., None], array.ravel()[:-1], np.concatenate([array, array])][dice.integers(3)], f"{name} of another shape"
    weights[name] = array
    if what == 3:
        del weights[name]
        words = f"{name} is missing"
    elif what == 4:
        weights["extra"], words = array, "a tensor too many"
    return refused(f"{words}: {settings!r}", lambda: NativeEngine(settings, vocab, weights))


def astray(dice: Dice) -> str:
    """Weights so large, or a state so far astray, that numbers overflow: where the reference says so, the native engine does too."""
    settings, vocab = random_settings(dice), random_size(dice, 40)
    weights, rows, steps = random_weights(dice, settings, vocab), random_size(dice, 5), random_size(dice, 5)
    state = random_state(dice, settings, vocab, rows)
    precision = str(dice.choice(["float32", "bf16", "int8"]))
    words = f"{precision} {settings!r} V {vocab} B {rows} T {steps}"
    if dice.random() < 0.5 and any(array.size for array in flat(state)):
        value, arrays = float(dice.choice([np.nan, np.inf, -np.inf, 1e30])), [array for array in flat(state) if array.size]
        array = arrays[dice.integers(len(arrays))]
        array[:, dice.integers(array.shape[1])] = value
        words = f"a state with {value}: {words}"
    else:
        name = str(dice.choice(list(weights)))
        weights[name] = weights[name] * np.float32(1e30)
        words = f"{name} times 1e30: {words}"
    engine = NativeEngine(settings, vocab, weights, precision=precision, threads=2)
    ids = dice.integers(0, vocab, (rows, steps))
    with np.errstate(all="ignore"):
        try:
            found = engine.read(ids, ids, state)[0].log_probs
            engine.write(ids[:, 0], state, [Sampling()] * rows, np.full((rows, steps), 0.5))
        except EscribaError:
            return words
        except Exception as error:
            raise Wrong(f"{type(error).__name__}: {error}: {words}") from error
        if precision != "float32":
            hold(np.isfinite(found).all(), "not finite:", words)
            return words
        wanted, narrow = (ReferenceEngine(settings, weights, dtype=kind) for kind in (np.float64, np.float32))
        if gives(wanted, ids, state) is None and gives(narrow, ids, state) is None:
            raise Wrong(f"numbers where the reference has none: {words}")
    return words


def gives(engine: Engine, ids: Any, state: State) -> object:
    """Log-probabilities, or None where an engine says that its numbers went astray."""
    try:
        return engine.read(ids, ids, state)[0].log_probs
    except EscribaError:
        return None


def nothing(dice: Dice) -> str:
    """No rows, or no steps: an error in words, or an answer of the right shape."""
    engine = some_engine(dice)
    rows, steps = [(0, 3), (0, 0), (2, 0)][dice.integers(3)]
    state = tuple(tuple(array[:rows] for array in layer) for layer in engine.initial_state(2))
    ids, what = np.zeros((rows, steps), np.int64), int(dice.integers(5))
    ways: list[Callable[[], Any]] = [
        lambda: engine.step(ids[:, :1].ravel() if steps else np.zeros(rows, np.int64), state)[0].shape == (rows, engine.vocab_size),
        lambda: engine.advance(ids, state)[0].shape == (rows, steps, engine.vocab_size),
        lambda: [array.shape for array in flat(engine.feed(ids, state))] == [array.shape for array in flat(state)],
        lambda: engine.read(ids, ids, state)[0].log_probs.shape == (rows, steps),
        lambda: engine.write(np.zeros(rows, np.int64), state, [Sampling()] * rows, np.zeros((rows, steps)))[0].shape == (rows, steps),
    ]
    words = f"{['step', 'advance', 'feed', 'read', 'write'][what]} of {rows} rows and {steps} steps, {type(engine).__name__}"
    try:
        hold(ways[what](), "another shape:", words)
    except EscribaError:
        pass
    except Wrong:
        raise
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}: {words}") from error
    return words


def counts_of_others(dice: Dice) -> str:
    """Arrays of n-grams that are damaged: refused when the engine is made, or harmless."""
    vocab, order = random_size(dice, 40), int(dice.integers(1, 6))
    weights = count_ngrams(dice.integers(0, vocab, 100).astype(np.uint8), vocab, order)
    name = str(dice.choice(list(weights)))
    array = weights[name].copy()
    place = tuple(int(dice.integers(size)) for size in array.shape)
    what = int(dice.integers(4))
    if what == 0:
        value = [0, -1, 2**31 - 1, 7][dice.integers(4)]
        array[place] = value
    elif what == 1:
        array = array[:-1] if dice.random() < 0.5 else np.concatenate([array, array[-1:]])
    elif what == 2:
        array = dice.permutation(array)
    else:
        array = array.astype(np.float64) + 0.5
    weights[name] = array
    words = f"{name} damaged ({what}), V {vocab}, order {order}"
    ids = dice.integers(0, vocab, (3, 5))
    settings = ModelSettings(cell="counts", order=order)
    try:
        reference, native = CountsEngine(settings, vocab, weights), NativeCounts(settings, vocab, weights)
    except EscribaError:
        return words
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}: {words}") from error
    with np.errstate(all="ignore"):
        one, other = native.advance(ids, native.initial_state(3))[0], reference.advance(ids, reference.initial_state(3))[0]
        hold(np.allclose(one, other, rtol=0, atol=1e-9, equal_nan=True), "other numbers than the reference's:", words)
    return words
