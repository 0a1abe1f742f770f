"""Lets the tests of this folder import `implementations` and the modules of tests beside them, however pytest imports."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(folder) for folder in (HERE, HERE.parent / "contracts") if str(folder) not in sys.path]
