"""What is due after a step: an evaluation, samples, a checkpoint.

It knows nothing of how they are made, and it has no clock: the seconds of training come in.
"""

from __future__ import annotations

import math

from escriba.settings import TrainSettings
from escriba.training.state import Tally

__all__ = ["EVALUATIONS", "SAMPLES", "Due"]

EVALUATIONS = 10
"""Evaluations after the first one, unless the settings say every how many steps, or the steps are too few."""
SAMPLES = 5
OVERFITS = 2
"""Evaluations without gain after which the network is taken to overfit."""
STEPS_TO_EVALUATION = 10
STEPS_TO_SAMPLES = 20
"""The least steps between two of them, unless the settings say every how many steps."""
FIRST_SAVE_S = 4.0
"""Seconds after a session's first step at which a state is to be saved at the latest; this and the next leave time for the writing."""
SAVE_EVERY_S = 55.0


class Due:
    """Says what is due. At the end of a training all is; at one step nothing is due twice, nor after a resume.

    Args:
        settings: every how many steps, if they say so.
        steps_an_epoch: steps in an epoch.
    """

    def __init__(self, settings: TrainSettings, steps_an_epoch: int) -> None:
        self.settings = settings
        self.steps_an_epoch = steps_an_epoch
        self._first_step_s: float | None = None
        self._saved_s: float | None = None
        self._step_s = 0.0

    def epoch_end(self, tally: Tally) -> bool:
        """Whether an epoch is over of which something was learnt."""
        return tally.step % self.steps_an_epoch == 0 and bool(tally.epoch_last)

    def evaluation(self, tally: Tally, done: float, over: bool) -> bool:
        """Whether to measure on the choosing part now.

        Args:
            tally: where training stands.
            done: the share of it that is over.
            over: whether this is the end.
        """
        since = tally.step - max(tally.evaluated_at, tally.origin_step)
        by_share = done >= tally.evaluations / EVALUATIONS and since >= STEPS_TO_EVALUATION
        return since > 0 and (over or _is_turn(tally.step, self.settings.eval_every, by_share))

    def sample(self, tally: Tally, done: float, over: bool) -> bool:
        """Whether to let the network write now; the arguments are those of `evaluation`."""
        since = tally.step - max(tally.sampled_at, tally.origin_step)
        by_share = done >= (tally.samples + 1) / SAMPLES and since >= STEPS_TO_SAMPLES
        return self.settings.sample_length > 0 and since > 0 and (over or _is_turn(tally.step, self.settings.sample_every, by_share))

    def name_to_keep(self, step: int) -> str | None:
        """Under which name the user wants the weights after this step, or None."""
        every = self.settings.keep_every
        if every is None or step % (self.steps_an_epoch if every == "epoch" else int(every)):
            return None
        return f"epoch-{step // self.steps_an_epoch}" if every == "epoch" else f"step-{step}"

    def checkpoint(self, tally: Tally, elapsed_s: float) -> bool:
        """Whether to save now: after every evaluation, where the user wants the weights, and by the clock.

        By the clock it is due when it would be too late after one more step: soon after this session's first step, then once a minute.
        """
        if tally.saved_at == tally.step:
            return False
        if tally.evaluated_at == tally.step or self.name_to_keep(tally.step) is not None:
            return True
        since, limit = (self._first_step_s, FIRST_SAVE_S) if self._saved_s is None else (self._saved_s, SAVE_EVERY_S)
        return since is not None and elapsed_s + self._step_s - since >= limit

    def joining(self, tally: Tally, done: float) -> bool:
        """Whether the choosing part is to be learnt too from now on: after its share of the training, unless the network overfits.

        Nor while no evaluation was better than the one at the beginning: what learns nothing keeps the weights it began with.
        """
        share, gains = self.settings.join, tally.best_at > tally.origin_step
        return share is not None and tally.join_shift is None and share <= done < 1.0 and gains and not self.no_gain(tally, OVERFITS)

    def no_gain(self, tally: Tally, evaluations: int) -> bool:
        """Whether so many evaluations brought no gain, the last of them an epoch after the best or later.

        Less than an epoch says nothing: the loss on the choosing part goes up and down with the place in the text that is being learnt.
        Once the choosing part is learnt too, nothing is measured, and nothing said.
        """
        if tally.join_shift is not None or tally.stale < evaluations:
            return False
        return tally.evaluated_at - max(tally.best_at, tally.origin_step) >= self.steps_an_epoch

    def shift(self, tally: Tally, done: float, an_epoch: int) -> int:
        """By how many batches what is learnt then is ahead of the steps: by none, or so that it ends with an epoch.

        The choosing part is the text's end: in less than an epoch it would not be reached.

        Args:
            tally: where training stands.
            done: the share of it that is over, more than 0.
            an_epoch: batches of an epoch of the whole.
        """
        left = math.ceil((tally.step - tally.origin_step) * (1.0 - done) / done)
        return 0 if left >= an_epoch else -left % an_epoch - tally.step

    def stepped(self, began_s: float, ended_s: float) -> None:
        """Tells it when a step began and ended, in seconds of training."""
        self._step_s = ended_s - began_s
        self._first_step_s = ended_s if self._first_step_s is None else self._first_step_s

    def saved(self, elapsed_s: float) -> None:
        """Tells it when a checkpoint was saved."""
        self._saved_s = elapsed_s


def _is_turn(step: int, every: int | None, by_share: bool) -> bool:
    """Every so many steps, or where the settings do not say so, spread over the training."""
    return by_share if every is None else step % every == 0
