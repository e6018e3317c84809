"""How commands and lines of the pages are made short enough for a test; CONTRIBUTING.md says it.

What a reader is told to run for ten minutes runs for three steps of one patch here, in the larger
presets with fewer channels.
"""

from __future__ import annotations

import re

STEPS = 3

_COMMAND = (
    (
        r"(napari-unet\s+train .*)--(?:minutes|steps) [\d.]+(?!.*--batch-size)",
        rf"\g<1>--steps {STEPS} --batch-size 1",
    ),
    (r"--(?:minutes|steps) [\d.]+", f"--steps {STEPS}"),
    (r"--preset (accurate|paper|3d)(?!.*--base-channels)", r"--preset \1 --base-channels 4"),
    (r"^napari-unet demo(?!.*--steps)", f"napari-unet demo --steps {STEPS}"),
)
_PYTHON = (
    (r"(?<![-\w])(?:minutes|steps)=[\d.]+(?!.*batch_size)", f"steps={STEPS}, batch_size=1"),
    (r"(?<![-\w])(?:minutes|steps)=[\d.]+", f"steps={STEPS}"),
    (r'preset\("(accurate|paper|3d)"(?!.*base_channels)', r'preset("\1", base_channels=4'),
)


def shortened_command(line: str) -> str:
    """Return a command that takes seconds."""
    return _replaced(line, _COMMAND)


def shortened_python(text: str) -> str:
    """Return lines that take seconds."""
    return _replaced(text, _PYTHON)


def _replaced(text: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        text = re.sub(pattern, replacement, text)
    return text
