"""Prompt models that the user has installed: they turn points and boxes into a mask.

A package offers one as an entry point of the group `GROUP`; its weights are its own affair. The
entry point is a function::

    def mask(image, points, box):
        ...

`image` is a float32 array ``YX``, or ``YXC`` with channels: what is on screen, with its own
numbers. The same array comes with every prompt on the same view, so what is computed of it can be
kept. `points` is a float array of shape (points, 3): y, x, and 1 for what is wanted, 0 for what is
not.
`box` is ``(top, left, bottom, right)``, or None. It returns a mask ``YX`` of the image's size: what
is not 0 is selected.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_unet.errors import ModelMismatchError, first_line
from napari_unet.objects.clicking import PromptedView

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.metadata import EntryPoint

    from numpy.typing import NDArray

    from napari_unet.objects.clicking import Selection

    PromptModel: TypeAlias = Callable[
        [NDArray[np.float32], NDArray[np.float64], tuple[float, float, float, float] | None], Any
    ]

GROUP = "napari_unet.prompt_models"
_POINTS_OF_LINE = 16  # at most: evenly spaced on it


def installed_prompt_models() -> dict[str, EntryPoint]:
    """List the prompt models of all installed packages by their names; none is imported."""
    return {each.name: each for each in entry_points(group=GROUP)}


def load_prompt_model(entry: EntryPoint) -> PromptModel:
    """Import a prompt model; ModelMismatchError where that fails, whatever its code raises."""
    try:
        model: PromptModel = entry.load()
    except Exception as error:  # code of others
        raise ModelMismatchError(
            f"The prompt model {entry.name!r} ({entry.value}) cannot be imported: "
            f"{first_line(error)}. Repair or remove its package."
        ) from error
    if not callable(model):
        raise ModelMismatchError(
            f"The prompt model {entry.name!r} ({entry.value}) is no function; its package "
            "must name one."
        )
    return model


@dataclass(frozen=True, eq=False)
class PromptedImage(PromptedView):
    """A view of which a prompt model tells what is meant."""

    name: str
    model: PromptModel
    image: NDArray[np.float32]
    """``YX``, or ``YXC``."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[0], self.image.shape[1]

    def mask_of(self, selection: Selection) -> NDArray[np.bool_]:
        """Ask the model; ModelMismatchError where it fails, or answers with something else."""
        points, box = _points_of(selection), None
        if selection.box is not None:
            rows, columns = selection.box
            box = (float(rows.start), float(columns.start), float(rows.stop), float(columns.stop))
        try:
            found = np.asarray(self.model(self.image, points, box))
            mask: NDArray[np.bool_] = found != 0
        except Exception as error:  # code of others
            raise ModelMismatchError(
                f"The prompt model {self.name!r} failed: {type(error).__name__}: "
                f"{first_line(error)}. Choose another one in the menu More…"
            ) from error
        if mask.shape != self.shape:
            raise ModelMismatchError(
                f"The prompt model {self.name!r} returned a mask of shape {found.shape} for an "
                f"image of {self.shape}; it must return one of the image's height and width."
            )
        return mask


def _points_of(selection: Selection) -> NDArray[np.float64]:
    """List points as a prompt model is given them."""
    wanted = (*selection.inside, *_spread(selection.line.tolist()))
    rows = [(*point, 1.0) for point in wanted]
    rows += [(*point, 0.0) for point in _spread(selection.outside)]
    return np.array(rows, float).reshape(-1, 3)


def _spread(points: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """Choose some of many points, evenly."""
    n_points = min(len(points), _POINTS_OF_LINE)
    return [points[i] for i in np.linspace(0, len(points) - 1, n_points).round().astype(int)]
