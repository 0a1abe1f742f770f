"""What happens while a network learns, as frozen records: the only thing that `fit` gives out.

They know nothing of who reads them: a progress bar, a file, a page, a user's own loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from escriba.model.loss import InOtherUnits

__all__ = ["CheckpointDue", "EpochEnded", "Evaluated", "Event", "Finished", "Joined", "Progress", "SampleDue", "SteppedBack"]


@dataclass(frozen=True)
class Event:
    """Where training stands.

    Attributes:
        step: updates made so far.
        epoch: times through the training text so far, with a fraction.
        elapsed_s: seconds of training so far, those before a resume counted.
        done: share of the training that is done, 0 to 1.
    """

    step: int
    epoch: float
    elapsed_s: float
    done: float


@dataclass(frozen=True)
class Progress(Event):
    """One step was made.

    Attributes:
        loss_nats: mean surprisal of the step's batch, dropout on, before the update.
        learning_rate: the rate of the update.
        gradient_norm: length of the gradient before clipping.
        symbols_seen: targets learnt from so far.
    """

    loss_nats: float
    learning_rate: float
    gradient_norm: float
    symbols_seen: int


@dataclass(frozen=True)
class SteppedBack(Event):
    """A step gave no finite number, so it was not taken: the network holds its last good weights again, and the rate is smaller.

    The count of steps does not go back: the step counts, its batch is not learnt from, and the data go on behind it.

    Attributes:
        loss_nats: the step's loss; it may be finite when only its gradient or the new weights are not.
        learning_rate: the rate with which training goes on at this place of the schedule.
        times: how often this happened in this training, this time included.
    """

    loss_nats: float
    learning_rate: float
    times: int


@dataclass(frozen=True)
class EpochEnded(Event):
    """All of the training text was read once more.

    Attributes:
        number: of the epoch, from 1.
        loss_nats: mean of its steps' losses, each weighed by its symbols.
        last_loss_nats: mean of its last ten steps' losses.
    """

    number: int
    loss_nats: float
    last_loss_nats: float


@dataclass(frozen=True)
class Evaluated(Event, InOtherUnits):
    """The weights that would be kept now were measured on the choosing part, dropout off.

    Attributes:
        loss_nats: mean surprisal in nats a symbol.
        symbols: how many symbols were scored.
        best: no evaluation before was better.
    """

    loss_nats: float
    symbols: int
    best: bool


@dataclass(frozen=True)
class Joined(Event):
    """From here on the choosing part is learnt too, and nothing is chosen by it any more."""


@dataclass(frozen=True)
class SampleDue(Event):
    """Now is a good moment to let the network write: it holds the weights that would be kept now."""


@dataclass(frozen=True)
class CheckpointDue(Event):
    """Now is a good moment to save.

    Attributes:
        keep: the user asked to keep the weights of this moment, the best or not (`Fit.present_weights`), under a name of their
            own, such as "epoch-3" or "step-500"; else None.
    """

    keep: str | None = None


@dataclass(frozen=True)
class Finished(Event):
    """Training is over, and the network holds the kept weights.

    Attributes:
        reason: "length" (steps, epochs or minutes are over), "patience" (no gain any more) or "interrupted" (`Fit.stop`).
        kept: which weights the network holds: "last", "averaged" or "best".
    """

    reason: str
    kept: str
