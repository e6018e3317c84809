"""Something unusual that long work tells its user and that does not stop it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """Something the user should know that does not stop the work.

    Parameters
    ----------
    text : str
        One sentence.
    """

    text: str
