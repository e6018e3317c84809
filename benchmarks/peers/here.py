"""Importing this puts the modules of the other benchmarks on the search path."""

from __future__ import annotations

import sys
from pathlib import Path

_BENCHMARKS = Path(__file__).resolve().parents[1]

sys.path[:0] = [str(_BENCHMARKS), str(_BENCHMARKS / "accuracy")]
