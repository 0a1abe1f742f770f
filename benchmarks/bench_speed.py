"""How fast does Escriba write, score and train, beside Keras and PyTorch?

Every task is done in turns by Escriba with its native code, by Escriba with none, by Escriba with no more than AVX2, and by the peer:
the lessons' own network in Keras on TensorFlow, or PyTorch eager. Each has a process of its own. The medians of their rounds in
characters a second are compared. Two models are trained first: the lessons' network for two epochs, the reference stack (four blocks of
256 with minGRU) for two minutes. What int8 costs is measured on their held-out parts.

    python tools/dev.py bench speed
    python benchmarks/bench_speed.py --rounds 3 --seconds 3
    python benchmarks/bench_speed.py --losses --seeds 3       # the stack's loss after equal steps, native against pure PyTorch
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import escriba
from bench_training import BATCH, EMBEDDING, HIDDEN, LENGTH, keras_python
from record import ROOT, find_text, save
from speed_worker import STACK, STACK_TRAIN

MODELS = ROOT / "build" / "speed-models"
HERE = Path(__file__).resolve().parent


class Task(NamedTuple):
    """What is done, by which peer, and how many times as fast Escriba must be, and is meant to be."""

    name: str
    what: str
    peer: str
    must: float
    aim: float


TASKS = (
    Task("write_one", "writing, one text, GRU 1024", "keras", 15, 35),
    Task("write_one", "writing, one text, GRU 1024", "torch", 6, 13),
    Task("write_one_stack", "writing, one text, the reference stack", "torch", 10, 25),
    Task("write_64", "writing, 64 texts, GRU 1024", "torch", 3, 8),
    Task("score_stream", "scoring one stream, int8, GRU 1024", "torch", 3, 6),
    Task("score_lines", "scoring 10,000 lines, bf16, GRU 1024", "torch", 3, 8),
    Task("train_tutorial", "training, GRU 1024", "keras", 4, 7),
    Task("train_stack", "training, the reference stack", "torch", 2.5, 4),
)
PEERS = {"keras": "Keras on TensorFlow", "torch": "PyTorch eager"}
LEVELS = {"escriba": None, "no native code": "off", "AVX2 only": "avx2"}
SHARE = (0.25, 0.45)
"""Of the bf16 product peak, in training the reference stack: must, aim."""
RISE = (0.005, 0.001)
"""Of bits per character by int8: at most, aim."""
STACK_PARAMETERS = 2.93e6


class Worker:
    """A process that does tasks when it is told to."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child

    def ask(self, *order: object) -> Any:
        """One order, and its answer."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        print(*order, file=self.child.stdin, flush=True)
        line = self.child.stdout.readline()
        if not line:
            raise SystemExit(f"the process that was asked for {order} ended")
        return json.loads(line)


@contextlib.contextmanager
def worker(command: Sequence[object], **environment: str) -> Iterator[Worker]:
    """A worker for as long as it is needed."""
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as child:
        yield Worker(child)
        assert child.stdin is not None
        child.stdin.close()


def keras_speed(keras: Worker, task: str, seconds: float) -> float:
    """What the lessons' network does in a second."""
    if task == "write_one":
        return float(keras.ask("write", seconds)["speed"])
    answer = keras.ask("train", seconds)
    return answer["steps"] * BATCH * LENGTH / float(answer["seconds"])


def train_models(text: Path, minutes: float) -> None:
    """The two models that are measured, unless they are there."""
    if not (MODELS / "tutorial").exists():
        escriba.train(text, preset="tutorial", epochs=2, out=MODELS / "tutorial", seed=1)
    if not (MODELS / "stack").exists():
        escriba.train(text, minutes=minutes, out=MODELS / "stack", seed=1, dropout=0.1, **STACK, **STACK_TRAIN)


def int8_rows(text: Path) -> list[dict[str, Any]]:
    """What int8 costs on the held-out tenth, read as one stream."""
    held_out = escriba.read(text).text[int(0.9 * len(escriba.read(text).text)) :]
    rows = []
    for name in ("tutorial", "stack"):
        exact, int8 = (escriba.load(MODELS / name, precision=one).score(held_out).bits_per_char for one in ("float32", "int8"))
        rows.append(
            {"what": f"rise in bits per char by int8, {name}", "ratio": round(int8 / exact - 1, 5), "must": RISE[0], "aim": RISE[1]}
        )
    return rows


def measure(rounds: int, seconds: float, only: Sequence[str], text: Path, keras_env: Path) -> list[dict[str, Any]]:
    """All tasks in turns."""
    tasks = [task for task in TASKS if not only or task.name in only]
    rows: list[dict[str, Any]] = []
    script = HERE / "speed_worker.py"
    for name in dict.fromkeys(task.name for task in tasks):
        peers = {task.peer for task in tasks if task.name == name}
        speeds: dict[str, list[float]] = {}
        with contextlib.ExitStack() as stack:  # anew for every task: what waits takes memory and caches from what works
            workers = {
                name: stack.enter_context(
                    worker([sys.executable, script, "escriba", MODELS, text], **({"ESCRIBA_NATIVE": level} if level else {}))
                )
                for name, level in LEVELS.items()
            }
            if "torch" in peers:
                workers["torch"] = stack.enter_context(worker([sys.executable, script, "torch", MODELS, text], ESCRIBA_NATIVE="off"))
            if "keras" in peers:
                command = [keras_python(keras_env), HERE / "keras_lesson.py", text, 66, BATCH, LENGTH, EMBEDDING, HIDDEN]
                keras = stack.enter_context(worker(command, TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow", PYTHONPATH=""))
            for number in range(rounds + 1):
                for who, one in workers.items():
                    speeds.setdefault(who, []).append(one.ask(name, seconds if number else 0.0))
                if "keras" in peers:
                    speeds.setdefault("keras", []).append(keras_speed(keras, name, seconds if number else 0.0))
                if name == "train_stack":
                    speeds.setdefault("peak", []).append(workers["torch"].ask("peak_bf16", seconds))
                print(f"{name}, round {number}: " + ", ".join(f"{who} {found[-1]:,.0f}" for who, found in speeds.items()), flush=True)
        median = {who: statistics.median(found[1:]) for who, found in speeds.items()}
        for task in tasks:
            if task.name == name:
                row = {"what": task.what, **{("native" if who == "escriba" else who): round(median[who]) for who in LEVELS}}
                ratio = {"ratio": round(median["escriba"] / median[task.peer], 2), "must": task.must, "aim": task.aim}
                rows.append({**row, "peer": PEERS[task.peer], "peer's": round(median[task.peer]), **ratio})
        if name == "train_stack":
            share = 6 * STACK_PARAMETERS * median["escriba"] / (1e6 * median["peak"])
            row = {"what": "share of the bf16 product peak, the reference stack", "peer": f"{median['peak'] / 1e6:.2f} TFLOP/s"}
            rows.append({**row, "ratio": round(share, 3), "must": SHARE[0], "aim": SHARE[1]})
    return rows


def losses(seeds: int, steps: int, text: Path) -> list[dict[str, Any]]:
    """The stack's held-out loss after equal steps, with the native code and without, each in a process of its own."""
    code = (
        "import escriba, sys, json; from speed_worker import STACK, STACK_TRAIN\n"
        "m = escriba.train(sys.argv[1], steps=int(sys.argv[2]), seed=int(sys.argv[3]), out=sys.argv[4], overwrite=True, dropout=0.1, "
        "sample_length=0, precision='bf16', **STACK, **STACK_TRAIN)\n"
        "s = m.score(escriba.read(sys.argv[1]).text[-100_000:])\n"
        "print(json.dumps(-s.log_likelihood / s.symbols))"
    )
    rows = []
    for seed in range(1, seeds + 1):
        row: dict[str, Any] = {"seed": seed, "steps": steps}
        for who, level in (("native", None), ("pure PyTorch", "off")):
            command = [sys.executable, "-c", code, text, steps, seed, MODELS / "losses"]
            environment = {
                **os.environ,
                "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
                **({"ESCRIBA_NATIVE": level} if level else {}),
            }
            done = subprocess.run(list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True, check=True)
            row[who] = round(json.loads(done.stdout.splitlines()[-1]), 4)
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    """Measures, and keeps the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument("--minutes", type=float, default=2.0, help="in which the stack is trained")
    parser.add_argument("--tasks", default="", help="only these, as write_one,train_stack; nothing is recorded then")
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--keras-env", type=Path, default=ROOT / "build" / "keras-env", help="made if it is not there")
    options = parser.parse_args()
    text = find_text("shakespeare.txt")
    if options.losses:
        rows = losses(options.seeds, options.steps, text)
        save("bench_speed_losses", f"python benchmarks/bench_speed.py --losses --seeds {options.seeds} --steps {options.steps}", rows)
        return
    train_models(text, options.minutes)
    only = [name for name in options.tasks.split(",") if name]
    rows = measure(options.rounds, options.seconds, only, text, options.keras_env)
    if only:
        print(json.dumps(rows, indent=1))
        return
    rows += int8_rows(text)
    save("bench_speed", f"python benchmarks/bench_speed.py --rounds {options.rounds} --seconds {options.seconds:g}", rows)
    missed = [row["what"] for row in rows if (row["ratio"] > row["must"] if "rise" in row["what"] else row["ratio"] < row["must"])]
    if missed:
        sys.exit("not reached: " + "; ".join(missed))


if __name__ == "__main__":
    main()
