"""What the command line prints: the one place that writes to a terminal.

Names of files, classes and models come from others. What would move the cursor, change colours,
end a line or turn the direction of writing is shown as an escape, so that no name can forge a
line; and what a terminal's encoding lacks is shown so too, instead of ending the program after the
work.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO

    from tqdm import tqdm


def printable(text: object) -> str:
    r"""Return a text in one line, with escapes for what is no letter, sign or space.

    Examples
    --------
    >>> print(printable("a\x1b[2K\nb µm"))
    a\x1b[2K\nb µm
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text)
    )


def say(text: object = "", file: TextIO | None = None) -> None:
    """Print one line, on standard output if no file is named."""
    print(printable(text), file=file)


def tell(text: object) -> None:
    """Print one line on standard error, above the progress bars that are there."""
    from tqdm import tqdm  # on use: --help starts without it

    tqdm.write(printable(text), file=sys.stderr)


def note(text: object) -> None:
    """Print on standard error what the user should know."""
    tell(f"Note: {text}")


def fail(text: object) -> None:
    """Print on standard error what went wrong."""
    tell(f"napari-unet: {text}")


def terminal_bar(name: object = "", **more: Any) -> tqdm[Any]:
    """Return a progress bar on standard error that shows a name."""
    from tqdm import tqdm

    return tqdm(desc=printable(name) or None, **more)


def print_in_any_encoding() -> None:
    """Let letters that the encoding of the terminal, or of a pipe, lacks be shown as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
