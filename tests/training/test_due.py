"""When something is due: spread over a training, by steps where the settings say so, by the clock, and never twice at one step."""

from __future__ import annotations

from typing import Any

import pytest

from escriba.settings import TrainSettings
from escriba.training.due import Due
from escriba.training.state import Tally


def walked(total: int, origin: int = 0, **settings: Any) -> dict[str, list[int]]:
    """At which steps evaluations and samples are due in a training of so many steps."""
    due, tally = Due(TrainSettings(**settings), 50), Tally(step=origin, origin_step=origin, evaluations=1, evaluated_at=origin)
    found: dict[str, list[int]] = {"evaluation": [], "sample": []}
    for count in range(1, total + 1):
        tally.step, done, over = origin + count, count / total, count == total
        if due.evaluation(tally, done, over):
            found["evaluation"].append(tally.step)
            tally.evaluations, tally.evaluated_at = int(done * 10) + 1, tally.step
            assert not due.evaluation(tally, done, over)
        if due.sample(tally, done, over):
            found["sample"].append(tally.step)
            tally.samples, tally.sampled_at = int(done * 5), tally.step
            assert not due.sample(tally, done, over)
    return found


@pytest.mark.parametrize("origin", [0, 1234])
def test_spread_over_a_training(origin: int) -> None:
    """Ten evaluations and five blocks of samples; fewer where the steps are few; the last at the end; so in a new phase too."""

    def from_there(*steps: int) -> list[int]:
        return [origin + step for step in steps]

    long = walked(1000, origin)
    assert long["evaluation"] == from_there(*range(100, 1001, 100))
    assert long["sample"] == from_there(*range(200, 1001, 200))
    short = walked(30, origin)
    assert short == {"evaluation": from_there(10, 20, 30), "sample": from_there(20, 30)}
    assert walked(3, origin) == {"evaluation": from_there(3), "sample": from_there(3)}


def test_by_the_settings() -> None:
    """Every so many steps, however near each other; none of what has no length."""
    assert walked(7, eval_every=2, sample_every=3) == {"evaluation": [2, 4, 6, 7], "sample": [3, 6, 7]}
    assert walked(40, sample_length=0)["sample"] == []


@pytest.mark.parametrize(
    ("every", "names"), [("epoch", {50: "epoch-1", 100: "epoch-2"}), ("40", {40: "step-40", 80: "step-80"}), (None, {})]
)
def test_names_to_keep(every: str | None, names: dict[int, str]) -> None:
    """The end of every epoch, or every so many steps, under a name; a checkpoint is due there."""
    due = Due(TrainSettings(keep_every=every), 50)
    assert {step: name for step in range(1, 120) if (name := due.name_to_keep(step))} == names
    assert [step for step in range(1, 120) if due.checkpoint(Tally(step=step), 0.0)] == list(names)


def test_the_clock() -> None:
    """Soon after the first step, then once a minute, before the step in which it would be too late; a step saves once."""
    due, tally = Due(TrainSettings(), 50), Tally(step=3)
    assert not due.checkpoint(tally, 1e6), "no step was made in this session"
    due.stepped(100.0, 101.0)
    assert not due.checkpoint(tally, 103.9)
    assert due.checkpoint(tally, 104.0)
    due.saved(104.5)
    assert not due.checkpoint(tally, 158.0)
    assert due.checkpoint(tally, 158.5)
    due.stepped(160.0, 190.0)
    assert due.checkpoint(tally, 129.5)
    assert not due.checkpoint(Tally(step=3, saved_at=3), 1e6)
    assert due.checkpoint(Tally(step=3, evaluated_at=3), 105.0)


@pytest.mark.parametrize(
    ("stale", "best_at", "origin", "evaluated_at", "over"),
    [(3, 10, 0, 59, False), (3, 10, 0, 60, True), (2, 10, 0, 90, False), (3, -1, 40, 89, False), (3, 41, 40, 89, False)],
)
def test_no_gain(stale: int, best_at: int, origin: int, evaluated_at: int, over: bool) -> None:
    """So many evaluations after the best one, the last an epoch later: within one the loss goes up and down with the place in the text;
    steps after the last evaluation, however many, say nothing.
    """
    due = Due(TrainSettings(join=0.7), 50)
    tally = Tally(step=evaluated_at + 70, origin_step=origin, stale=stale, best_at=best_at, evaluated_at=evaluated_at)
    assert due.no_gain(tally, 3) == over
    assert due.joining(tally, 0.8) == (best_at > origin and evaluated_at - best_at < 50)


@pytest.mark.parametrize(
    ("step", "origin", "done", "an_epoch", "shift"),
    [(10, 0, 0.5, 25, 5), (110, 100, 0.5, 25, -95), (10, 0, 0.5, 10, 0), (10, 0, 0.5, 8, 0), (30, 0, 0.75, 25, -15)],
    ids=str,
)
def test_what_is_learnt_in_the_end_ends_with_the_text(step: int, origin: int, done: float, an_epoch: int, shift: int) -> None:
    """With less than an epoch to go the last batch is the last of the whole; with more, the order is left as it is."""
    assert Due(TrainSettings(), 20).shift(Tally(step=step, origin_step=origin), done, an_epoch) == shift
