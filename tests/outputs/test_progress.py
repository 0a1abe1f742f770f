"""How a training is drawn: plain lines elsewhere, a bar in a terminal."""

from __future__ import annotations

import dataclasses
import io
import math
from typing import Any

import pytest
from rich.console import Console

from escriba.outputs import progress
from escriba.outputs.progress import ProgressDisplay, duration
from escriba.outputs.wording import time_left
from escriba.results import Begun, Closed, Sampled
from escriba.training.events import CheckpointDue, EpochEnded, Evaluated, Joined, Progress, SteppedBack

BEGUN = Begun(
    folder="models/fox",
    source="12,000 characters, one stream, from fox.txt",
    lines=(("symbols", "38, characters; the rarest: 'ñ' 1"), ("parts", "9,000 to learn from")),
    notes=("the text [bold]is short[/bold] :smile:",),
    network="embedding 6, gru 8, 38 symbols",
    parameters=954,
    vocab_size=38,
    examples="streams, 8 x 20, 60 steps an epoch",
    precision="float32",
    device="cpu",
    threads=2,
    symbols_per_s=123_456.0,
    estimated_s=100.0,
    megabytes=0.0038,
    characters_per_symbol=2.0,
    restored=None,
)
CLOSED = Closed("models/fox", "length", "best", 40, 0.5, 6400, 12.0, 2.0, 1.5, 2.164, 4.48, 1199, {"steps": 40})


def step(number: int, loss: float = 2.0, done: float = 0.25) -> Progress:
    """A step."""
    return Progress(number, number / 60, 10.0, done, loss, 1e-3, 1.0, 160 * number)


def drawn(*events: Any, **options: Any) -> str:
    """What a display that is no terminal shows of events."""
    stream = io.StringIO()
    display = ProgressDisplay(stream, **options)
    for event in events:
        display(event)
    display.close()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0 s"), (89, "89 s"), (90, "1:30 min"), (185, "3:05 min"), (5400, "1:30 h"), (7800, "2:10 h")]
)
def test_durations(seconds: float, shown: str) -> None:
    """A time as people say it."""
    assert duration(seconds) == shown


def test_the_beginning() -> None:
    """Text, notes, network, examples, time and place, each in a line; marks and faces in a text are not interpreted."""
    lines = drawn(BEGUN).splitlines()
    assert lines == [
        "text      12,000 characters, one stream, from fox.txt",
        "symbols   38, characters; the rarest: 'ñ' 1",
        "parts     9,000 to learn from",
        "note      the text [bold]is short[/bold] :smile:",
        "network   embedding 6, gru 8, 38 symbols: 954 parameters, 0.0 MB",
        "examples  streams, 8 x 20, 60 steps an epoch",
        "time      about 1:40 min at 123,456 symbols a second (float32, 2 threads)",
        "model     models/fox   (Ctrl-C stops and keeps it)",
    ]


def test_long_lines_are_not_cut() -> None:
    """A line longer than a console stays one line: files and pipes have no width."""
    assert "x" * 300 in drawn(Sampled(1, 0.5, "x" * 300))


def test_plain_lines_come_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off a terminal steps are silent, but for a line when ten seconds have gone by without one."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    display = ProgressDisplay(stream)
    shown = []
    for number in range(1, 101):
        clock[0] += 0.3
        display(step(number, done=number / 100))
        shown.append(len(stream.getvalue().splitlines()))
    assert shown[-1] == 2
    first = stream.getvalue().splitlines()[0]
    assert first == " 34%  step 34  epoch 0.57  loss 2.000  19 s left"


def test_the_loss_shown_is_smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins with the first step's and follows the others slowly."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", -1.0)
    lines = drawn(step(1, 3.0), step(2, 2.0), step(3, 2.0, done=0.0)).splitlines()
    assert [line.split("loss ")[1][:5] for line in lines] == ["3.000", "2.950", "2.902"]
    assert "left" not in lines[2]


def test_evaluations() -> None:
    """In nats a symbol, bits a character and perplexity; the best is marked, but not the first of all."""
    first, best, worse = (
        Evaluated(n, n / 60, 1.0, 0.5, 2.0 * math.log(2), 100, better) for n, better in ((0, True), (7, True), (9, False))
    )
    lines = drawn(BEGUN, first, best, worse).splitlines()[-3:]
    assert lines[0] == "step 0: choosing part 1.386 nats, 1.000 bits per character, perplexity 4.00"
    assert lines[1] == lines[0].replace("step 0", "step 7") + "  best so far"
    assert lines[2] == lines[0].replace("step 0", "step 9")


def test_samples() -> None:
    """What the model writes is shown as it is, and only if it is wanted."""
    sample = Sampled(1200, 0.5, "[red]The\n cat :smile:")
    assert drawn(sample) == "-- it writes, after 1,200 steps, at temperature 0.5 --\n[red]The\n cat :smile:\n"
    assert drawn(sample, samples=False) == ""


def test_epochs_and_what_is_not_drawn() -> None:
    """The end of an epoch is a line; an event that means nothing to people is none."""
    assert drawn(EpochEnded(60, 1.0, 1.0, 0.1, 1, 2.5, 2.25)) == "epoch 1 over: mean loss 2.5000, of its last ten steps 2.2500\n"
    assert drawn(CheckpointDue(1, 0.1, 0.1, 0.1), object()) == ""


def test_the_end() -> None:
    """How long, the same length again, the held-out figure and where the model is."""
    assert drawn(CLOSED).splitlines() == [
        "ended     as long as asked: 40 steps, 0.50 epochs, 12 s",
        "again     as much training on any machine: --steps 40",
        "held out  1.5000 nats, 2.1640 bits per character, perplexity 4.48 over 1,199 symbols never learnt from (best weights)",
        "model     models/fox",
    ]
    interrupted = Closed(None, "interrupted", "last", 40, 0.5, 6400, 12.0, 2.0, None, None, None, 0)
    assert drawn(interrupted).splitlines() == ["ended     interrupted: 40 steps, 0.50 epochs, 12 s"]


def test_a_time_too_short_for_a_step_is_told() -> None:
    """Nothing was learnt, and the way to learn as much on any machine is none."""
    nothing = Closed("models/fox", "length", "best", 0, 0.0, 0, 2.0, 4.2, 6.1, 6.1, 67.5, 1199, {"steps": 0})
    said = drawn(nothing)
    assert "note      the time was over before the first step" in said
    assert "again" not in said


def test_a_bar_in_a_terminal() -> None:
    """In a terminal a bar moves in place with step, loss and time left, the other lines stand above it, and at the end it is gone."""
    stream = io.StringIO()
    display = ProgressDisplay(stream, live=True)
    display.console = Console(file=stream, force_terminal=True, width=100, highlight=False, soft_wrap=True)
    display(BEGUN)
    assert display._bar is not None
    display(step(15, 2.5, done=0.25))
    display._bar.refresh()
    assert "step 15  epoch 0.25  loss 2.500" in stream.getvalue()
    assert "30 s left" in stream.getvalue()
    assert "━" in stream.getvalue()
    assert display._bar.tasks[0].percentage == pytest.approx(25.0)
    display(Sampled(15, 0.5, "The cat"))
    assert "The cat" in stream.getvalue()
    display(CLOSED)
    assert display._bar is None
    assert stream.getvalue().rstrip().endswith("models/fox")
    assert "\x1b[2K" in stream.getvalue(), "the bar was not taken away"
    display.close()


def test_a_terminal_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without being told, a display is live where its stream is a terminal, and only there."""

    class Terminal(io.StringIO):
        """A stream that says it is one."""

        def isatty(self) -> bool:
            """It does."""
            return True

    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert ProgressDisplay(Terminal()).live
    assert not ProgressDisplay(io.StringIO()).live
    monkeypatch.setenv("TERM", "dumb")
    assert not ProgressDisplay(Terminal()).live, "a terminal that cannot move its cursor gets lines"


def test_what_can_be_done_at_the_end_is_told_in_the_language_of_the_caller() -> None:
    """On the command line with its options, which itself tells how to go on; in Python with the arguments."""
    assert "again     as much training on any machine: steps=40" in drawn(CLOSED, in_python=True).splitlines()
    interrupted = Closed("models/fox", "interrupted", "last", 40, 0.5, 6400, 12.0, 2.0, None, None, None, 0)
    ended, kept = "ended     interrupted: 40 steps, 0.50 epochs, 12 s", "kept in   models/fox"
    assert drawn(interrupted).splitlines() == [ended, kept]
    assert drawn(interrupted, in_python=True).splitlines() == [
        ended,
        kept,
        "go on     escriba.train(THE SAME TEXT, out='models/fox', resume=True)",
    ]


def test_what_is_gone_on_from_comes_first() -> None:
    """A training that is resumed says so before anything else."""
    resumed = dataclasses.replace(BEGUN, restored="step 7: weights, optimizer, order and random states")
    assert drawn(resumed).splitlines()[0] == "restored  step 7: weights, optimizer, order and random states"


def test_where_it_learns() -> None:
    """On a processor the threads are told, else the device."""
    assert "(float32, 1 thread)" in drawn(dataclasses.replace(BEGUN, threads=1))
    assert "(bf16, cuda)" in drawn(dataclasses.replace(BEGUN, device="cuda", precision="bf16"))


def test_a_loss_that_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done about it is a warning; the loss shown leaves it out."""
    back = SteppedBack(1234, 1.0, 1.0, 0.1, math.nan, 0.0024, 1)
    warning = "warning   step 1,234: the loss was nan; back to the last good weights, rate now 0.0024"
    assert drawn(back).splitlines() == [warning]
    assert "step 1,234: the gradient was not finite; back to" in drawn(dataclasses.replace(back, loss_nats=2.5))
    monkeypatch.setattr(progress, "LINE_EVERY_S", -1.0)
    lines = drawn(step(1, math.nan), step(2, 2.0), step(3, math.inf), step(4, 2.0)).splitlines()
    assert "loss" not in lines[0]
    assert ["loss 2.000" in line for line in lines[1:]] == [True] * 3


def test_that_the_choosing_part_is_learnt_too() -> None:
    """It is said from when on, for nothing is measured after it."""
    assert drawn(Joined(1234, 1.0, 1.0, 0.7)).splitlines() == ["step 1,234: from here on the choosing part is learnt too"]


def test_control_characters_are_not_obeyed() -> None:
    """A model of bytes may write what would clear the screen: it is shown as a picture."""
    assert drawn(Sampled(1, 0.5, "a\x1b[2J\x07\x9bb")).splitlines()[1] == "a␛[2J␇�b"


@pytest.mark.parametrize("width", [40, 64, 100])
def test_the_bar_fits_a_narrow_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However narrow, it is one line, with step, loss and time left whole; where there is no room the bar and the epoch go."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    display = ProgressDisplay(io.StringIO(), live=True)
    display.console = Console(file=io.StringIO(), force_terminal=True, width=width, soft_wrap=True)
    display(BEGUN)
    display(step(123_456, 2.5, done=0.4))
    assert display._bar is not None
    page = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True)
    page.print(display._bar.get_renderable())
    display.close()
    assert isinstance(page.file, io.StringIO)
    (line,) = page.file.getvalue().splitlines()
    assert len(line) <= width
    assert all(part in line for part in ("123,456", "loss 2.500", "15 s left"))
    assert [part in line for part in ("━", "epoch")] == [width >= 64] * 2


def test_a_size_that_was_chosen_is_told_for_another_machine() -> None:
    """Where a time was the measure, what trains the same anywhere is told: steps, and the size that was chosen for this machine."""
    closed = dataclasses.replace(CLOSED, again={"steps": 40, "hidden_size": 256, "embedding_dim": 64})
    assert (
        "again     as much training on any machine: --steps 40 --hidden-size 256 --set model.embedding_dim=64" in drawn(closed).splitlines()
    )
    assert (
        "again     as much training on any machine: steps=40, hidden_size=256, embedding_dim=64"
        in drawn(closed, in_python=True).splitlines()
    )
    assert "again" not in drawn(dataclasses.replace(CLOSED, again=None))


def test_the_time_left_of_a_second_phase_counts_from_its_beginning() -> None:
    """The seconds that a finished model was trained before say nothing of the pace of now."""
    event = dataclasses.replace(step(10), elapsed_s=110.0, done=0.25)
    assert time_left(event, spent_s=100.0) == "30 s left"
    assert time_left(dataclasses.replace(event, elapsed_s=10.0)) == "30 s left"
