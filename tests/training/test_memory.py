"""What training frees and takes again: whether the system clears its pages anew."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")

ROUNDS = """
import resource
import sys
import numpy as np
from escriba.training.memory import give_back_memory, keep_memory

if "keep" in sys.argv:
    keep_memory()
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(2**20) for _ in range(12)]
    del arrays
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
give_back_memory()
resident = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
print(resident)
"""


def faults_and_bytes(*words: str) -> tuple[int, int]:
    """Pages that the system cleared in the fourth round of 96 MiB, and what the process held after giving it back."""
    made = subprocess.run([sys.executable, "-c", ROUNDS, *words], capture_output=True, text=True, check=True)
    faults, resident = map(int, made.stdout.split())
    return faults, resident


def test_what_is_freed_is_taken_again_as_it_is() -> None:
    """Of 24,576 pages next to none is cleared anew; without being asked, the C library gives many of them back each time."""
    kept, resident = faults_and_bytes("keep")
    assert kept < 2000
    assert faults_and_bytes()[0] > 4000
    assert resident < 90 * 2**20
