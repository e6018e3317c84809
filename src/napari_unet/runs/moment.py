"""When something began and ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Moment:
    """When a run began and ended.

    Parameters
    ----------
    started, ended : str
        ISO 8601, in UTC.
    """

    started: str
    ended: str

    @classmethod
    def since(cls, started: str) -> Moment:
        """Return one that ends now."""
        return cls(started, now())


def now() -> str:
    """Return the present moment in ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
