"""What a command would write, checked before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.errors import FileProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def check_targets(targets: Sequence[Path], read: Iterable[Path], remedy: str) -> None:
    """Refuse to write two files under one name, or over one that is read.

    Parameters
    ----------
    targets, read : sequence and iterable of Path
        What would be written, and what is read.
    remedy : str
        What to choose instead, such as "another name".

    Raises
    ------
    FileProblemError
        Names the file.
    """
    if len(set(targets)) < len(targets):
        raise FileProblemError("Two of the files would be written under the same name.")
    taken = {path.resolve() for path in read}
    for target in targets:
        if target.resolve() in taken:
            raise FileProblemError(f"{target} would overwrite what is read; choose {remedy}.")
