"""What every benchmark shares: where the texts are, on what machine it ran, the record that the docs' tables are made from.

It knows nothing of what is measured.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

import escriba

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def find_text(name: str) -> Path:
    """A text for benchmarks: in the folder that ESCRIBA_TEXTS names, else in shared/data beside the project.

    Raises:
        SystemExit: it is not there.
    """
    folder = Path(os.environ.get("ESCRIBA_TEXTS", ROOT.parent / "shared" / "data"))
    if not (folder / name).is_file():
        raise SystemExit(f"{folder / name} is not there: set ESCRIBA_TEXTS to a folder that holds {name}")
    return folder / name


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "escriba": escriba.__version__,
    }


def save(name: str, command: str, rows: list[dict[str, Any]]) -> Path:
    """Writes a record to benchmarks/results, and prints its rows."""
    record = {
        "benchmark": name,
        "command": command,
        "date": dt.datetime.now().astimezone().date().isoformat(),
        "machine": machine(),
        "rows": rows,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in rows:
        print("  ".join(f"{key}={value:.4f}" if isinstance(value, float) else f"{key}={value}" for key, value in row.items()))
    print(f"record: {path.relative_to(ROOT)}")
    return path
