#!/usr/bin/env python3
"""Tries the native code with what nobody thought of: random models, shapes, states, samplings, threads, and input that does not fit.

    python tools/fuzz.py --minutes 5              as many cases as fit in
    python tools/fuzz.py --seed 7 --cases 10000   so many cases
    python tools/fuzz.py --seed 7 --case 1234     one of them again, in this process, as a finding says
    python tools/fuzz.py --minutes 5 --sanitized  with the library built with the sanitizers of addresses and of undefined behaviour

Cases are done a thousand at a time in a process of their own, so that a crash is a finding with its seed and not the end. Another
library than the package's own is tried where the variable ESCRIBA_NATIVE_LIBRARY names it: `tools/native.py sanitize` builds the
sanitized one into build/sanitized and sets what it needs beside that variable; `--sanitized` does the same.

It knows how cases are run and counted; what they are is in fuzz_engine.py, fuzz_wrong.py and fuzz_training.py.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

import fuzz_engine
import fuzz_wrong
import native
from fuzz_engine import Wrong

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "fuzz.json"
PER_PROCESS = 1000
LONGEST = 180.0
"""Seconds after which a case counts as one that hangs."""
SHOWN = 1500
"""Characters of a finding."""

Kind = Callable[[np.random.Generator], str]


def training(dice: np.random.Generator) -> str:
    """The forms that learn; PyTorch is loaded only by who needs it."""
    return str(importlib.import_module("fuzz_training").training(dice))


KINDS: Mapping[str, tuple[Kind, float]] = {
    "networks": (fuzz_engine.neural, 0.4),
    "counts": (fuzz_engine.counting, 0.12),
    "training": (training, 0.18),
    "wrong input": (fuzz_wrong.refused_input, 0.12),
    "wrong weights": (fuzz_wrong.refused_weights, 0.06),
    "gone astray": (fuzz_wrong.astray, 0.05),
    "nothing": (fuzz_wrong.nothing, 0.03),
    "damaged counts": (fuzz_wrong.counts_of_others, 0.04),
}
"""What is tried, and how often."""


class Finding(NamedTuple):
    """A case that went wrong."""

    number: int
    kind: str
    words: str


def kind_of(dice: np.random.Generator) -> str:
    """Which kind a case is of."""
    return str(dice.choice(list(KINDS), p=[share for _, share in KINDS.values()]))


def perform(seed: int, number: int) -> tuple[str, str, str | None]:
    """Does one case: its kind, what was tried, and what was wrong, if something was."""
    dice = np.random.default_rng([seed, number])
    kind = kind_of(dice)
    if kind == "training" and importlib.util.find_spec("torch") is None:
        return kind, "left out: there is no PyTorch", None
    try:
        return kind, KINDS[kind][0](dice), None
    except Wrong as wrong:
        return kind, "", str(wrong)[:SHOWN]


def child(seed: int, first: int, count: int) -> int:
    """Does cases one after the other, and says of each that it begins and what came of it, a line of JSON each time."""
    sent = os.dup(1)
    os.dup2(2, 1)  # what else is printed is none of the parent's lines
    for number in range(first, first + count):
        os.write(sent, f"{number}\n".encode())
        kind, _, wrong = perform(seed, number)
        os.write(sent, (json.dumps([number, kind, wrong]) + "\n").encode())
    return 0


class Parent:
    """Runs children, and keeps what they say.

    Args:
        seed: of all cases.
        environment: of the children; None: this process's.
        say: gets every line for whoever looks on.

    Attributes:
        command: that of a child, without its first case and their number.
        done: how many cases of each kind came to their end.
        findings: what went wrong.
    """

    def __init__(self, seed: int, environment: Mapping[str, str] | None = None, say: Callable[[str], None] = print) -> None:
        self.seed, self.say = seed, say
        self.environment = {**(environment or os.environ), "ESCRIBA_LANG": "en"}
        self.command = [sys.executable, str(Path(__file__).resolve()), "--seed", str(seed), "--child"]
        self.done: collections.Counter[str] = collections.Counter()
        self.findings: list[Finding] = []
        self._at, self._since = 0, 0.0

    def run(self, cases: int | None, seconds: float | None) -> None:
        """Does so many cases, or as many as fit in; what is None is no limit."""
        began, number = time.monotonic(), 0
        ends = None if seconds is None else began + seconds
        while (cases is None or number < cases) and (ends is None or time.monotonic() < ends):
            count = PER_PROCESS if cases is None else min(PER_PROCESS, cases - number)
            number = self._batch(number, count, ends)
            took = time.monotonic() - began
            self.say(f"{sum(self.done.values()):8,} cases  {len(self.findings)} findings  {took:6.0f} s")

    def _batch(self, first: int, count: int, ends: float | None) -> int:
        """One child. Gives the case with which the next one begins."""
        self._at, self._since = first - 1, time.monotonic()
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
            status, why = self._watch([*self.command, str(first), str(count)], ends, told)
            if status == 0 or why == "time is up":
                return first + count
            told.seek(0)
            self._found(Finding(self._at, self._kind(self._at), f"{why or f'it ended with {status}'}\n{told.read()[-4000:]}"))
        if self._at < first:  # it does not even begin
            raise SystemExit(self.findings[-1].words)
        return self._at + 1

    def _watch(self, words: Sequence[str], ends: float | None, told: IO[str]) -> tuple[int, str]:
        """Lets a child run until it ends, or must be ended: its status, and why it was ended."""
        why = ""
        with subprocess.Popen(words, env=self.environment, stdout=subprocess.PIPE, stderr=told, encoding="utf-8") as process:
            listener = threading.Thread(target=self._listen, args=(process,))
            listener.start()
            while process.poll() is None and not why:
                time.sleep(0.05)
                if time.monotonic() - self._since > LONGEST:
                    why = "it hangs"
                elif ends is not None and time.monotonic() > ends:
                    why = "time is up"
            if why:
                process.kill()
            status = process.wait()
            listener.join()
        return status, why

    def _kind(self, number: int) -> str:
        return kind_of(np.random.default_rng([self.seed, max(0, number)]))

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Reads what a child says until its end."""
        assert process.stdout is not None
        for line in process.stdout:
            try:
                said = json.loads(line)
            except ValueError:  # it was killed within a line
                return
            self._since = time.monotonic()
            if isinstance(said, int):
                self._at = said
                continue
            number, kind, wrong = said
            self.done[kind] += 1
            if wrong is not None:
                self._found(Finding(number, kind, wrong))

    def _found(self, finding: Finding) -> None:
        self.findings.append(finding)
        self.say(f"FINDING --seed {self.seed} --case {finding.number} ({finding.kind}): {finding.words}")


def record(parent: Parent, command: str, seconds: float, *, sanitized: bool) -> None:
    """Keeps the count in benchmarks/results, beside that of the other library."""
    library = "sanitized" if sanitized else "as built"
    rows = [one for one in json.loads(RECORD.read_text(encoding="utf-8"))["rows"] if one["library"] != library] if RECORD.is_file() else []
    found = collections.Counter(finding.kind for finding in parent.findings)
    rows += [{"library": library, "kind": kind, "cases": parent.done[kind], "findings": found[kind], "seed": parent.seed} for kind in KINDS]
    everything = {"cases": sum(parent.done.values()), "findings": len(parent.findings), "seed": parent.seed, "seconds": round(seconds)}
    rows.append({"library": library, "kind": "all", **everything})
    sys.path.append(str(ROOT / "benchmarks"))
    importlib.import_module("record").save("fuzz", command, sorted(rows, key=lambda row: row["library"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line and does it: 1 where something was found."""
    parser = argparse.ArgumentParser(prog="fuzz.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="how long; 5 where --cases is not given, either")
    parser.add_argument("--cases", type=int, help="how many cases")
    parser.add_argument("--seed", type=int, default=1, help="another one tries other cases [default: 1]")
    parser.add_argument("--case", type=int, help="does this case alone, in this process")
    parser.add_argument("--sanitized", action="store_true", help="with the sanitized library, which is built where that is needed")
    parser.add_argument("--record", action="store_true", help="keeps the count in benchmarks/results/fuzz.json")
    parser.add_argument("--child", nargs=2, type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.child:
        return child(asked.seed, *asked.child)
    if asked.case is not None:
        kind, tried, wrong = perform(asked.seed, asked.case)
        print(f"{kind}: {tried if wrong is None else wrong}")
        return int(wrong is not None)
    environment = None
    if asked.sanitized and (environment := native.sanitized()) is None:
        return 2
    minutes = 5.0 if asked.minutes is None and asked.cases is None else asked.minutes
    parent, began = Parent(asked.seed, environment, lambda line: print(line, flush=True)), time.monotonic()
    try:
        parent.run(asked.cases, None if minutes is None else 60 * minutes)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    seconds = time.monotonic() - began
    print(", ".join(f"{kind} {parent.done[kind]:,}" for kind in KINDS))
    if asked.record:
        record(parent, " ".join(["python tools/fuzz.py", *(arguments or sys.argv[1:])]), seconds, sanitized=asked.sanitized)
    return int(bool(parent.findings))


if __name__ == "__main__":
    raise SystemExit(main())
