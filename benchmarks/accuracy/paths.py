"""Where things lie; importing this puts the modules of the other benchmarks on the search path."""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULT_DATA = CHECKOUT.parent / "shared" / "data"
DEFAULT_RESULTS = CHECKOUT / "docs" / "results"

sys.path.insert(0, str(CHECKOUT / "benchmarks"))
