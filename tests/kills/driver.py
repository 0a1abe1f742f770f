"""Trains in processes that stop, or kill, themselves at an exact moment: PyTorch is imported once, and each job is a fork.

Every line of standard input is a job, every line of standard output its exit status, negative for a signal that killed it.

A job: {"text": FILE, "out": FOLDER, "settings": {...}, "resume": true, and of these at most one:
"at": {"event": "Progress", "number": 7, "signal": "SIGINT", "times": 2}   at the 7th event of that kind ("any": of any kind)
"at": {"write": 12, "signal": "SIGKILL"}    before a file of the model's is opened for writing, renamed or deleted for the 12th time}
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import escriba.api
import escriba.beginning
import escriba.teaching
from escriba.results import Closed

FINISHED, FAILED, STOPPED, AT_ONCE = 0, 3, 10, 11
WRITING = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")


def strike(name: str) -> None:
    """Sends this very thread a signal, so that two are two; SIGKILL does not come back."""
    signal.raise_signal(getattr(signal, name))


def at_event(wanted: dict[str, Any], counted: list[str]) -> None:
    """Strikes if this event is the one."""
    kind = wanted["event"]
    if kind in ("any", counted[-1]) and (len(counted) if kind == "any" else counted.count(kind)) == wanted["number"]:
        for _ in range(wanted.get("times", 1)):
            strike(wanted["signal"])


def at_write(wanted: dict[str, Any], out: Path) -> None:
    """From now on counts what is done to the model's files, as Python itself reports it, and strikes before the one that is wanted."""
    count = 0

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in WRITING or not isinstance(arguments[0], str | os.PathLike) or out.name not in os.fspath(arguments[0]):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        count += 1
        if count == wanted["write"]:
            strike(wanted["signal"])

    sys.addaudithook(audit)


def run(job: dict[str, Any]) -> int:
    """Trains as the job says."""
    wanted, out, counted = job.get("at", {}), Path(job["out"]), []
    reason = ""

    def watch(event: Any) -> None:
        nonlocal reason
        if isinstance(event, Closed):
            reason = event.reason
        counted.append(type(event).__name__)
        if "event" in wanted:
            at_event(wanted, counted)

    if "write" in wanted:
        at_write(wanted, out)
    try:
        escriba.api.train(job["text"], out=out, resume=job.get("resume", False), watcher=watch, **job["settings"])
    except KeyboardInterrupt:
        return AT_ONCE
    except BaseException:  # noqa: BLE001 - whatever it is, it is told, and this process ends here
        traceback.print_exc()
        return FAILED
    if "tell" in job:
        Path(job["tell"]).write_text(json.dumps(counted), encoding="utf-8")
    return STOPPED if reason == "interrupted" else FINISHED


def main() -> None:
    """Does the jobs, one after another."""
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(run(job))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
