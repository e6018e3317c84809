"""What a running prediction tells: frozen values, one per happening."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_unet.run import Notice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.model.config import Precision
    from napari_unet.prediction.config import ResultKind


@dataclass(frozen=True)
class PredictionStarted:
    """The work is planned."""

    device: str
    """Where it computes, for people."""
    tiles: int
    """Tiles of all frames together."""
    shape: tuple[int, ...]
    """Shape of the label result: frame axes, then ``[Z]YX``."""
    kind: ResultKind
    """Objects, classes, probabilities or uncertainty."""
    precision: Precision = "float32"
    """Of the convolutions."""


@dataclass(frozen=True)
class TilePredicted:
    """One tile is done."""

    number: int
    """Tiles done so far, of all frames."""
    frame: tuple[int, ...]
    """Index on the frame axes."""
    region: Region
    """The tile's box in ``[Z]YX``."""
    labels: NDArray[Any]
    """Result value per pixel: 0 background; with objects, 1 for all foreground; uncertainty as
    float32.
    """


@dataclass(frozen=True)
class TileWritten:
    """A tile that was computed elsewhere is in the file."""

    number: int
    """Tiles done so far, of all frames."""


@dataclass(frozen=True)
class BlockSeparated:
    """The objects of a block of a large frame are separated."""

    number: int
    """Blocks of the frame done so far."""
    total: int
    """Blocks of the frame."""
    frame: tuple[int, ...]
    """Index on the frame axes."""


@dataclass(frozen=True)
class FrameFinished:
    """All tiles of a frame are done, and its objects are separated."""

    frame: tuple[int, ...]
    """Index on the frame axes."""
    region: Region
    """The predicted box in ``[Z]YX``; the whole frame unless less was asked for."""
    labels: NDArray[Any]
    """The final values of that box."""


PredictionEvent = (
    PredictionStarted | TilePredicted | TileWritten | BlockSeparated | FrameFinished | Notice
)


# --- How far a prediction is: its events as one value, for the window and for the command line ---


@dataclass(frozen=True)
class PredictionProgress:
    """How far the prediction of an image is."""

    tile: int = 0
    """Tiles done."""
    tiles: int = 0
    """Tiles of all frames together."""
    block: int = 0
    """Blocks of the present frame that are separated; 0 while tiles come."""
    blocks: int = 0
    """Blocks of the present frame."""
    notices: str = ""
    """What the user should know."""

    def after(self, event: object) -> PredictionProgress:
        """Return how far it is after an event."""
        if isinstance(event, PredictionStarted):
            return PredictionProgress(tiles=event.tiles)
        if isinstance(event, TilePredicted | TileWritten):
            return replace(self, tile=event.number, block=0, blocks=0)
        if isinstance(event, BlockSeparated):
            return replace(self, block=event.number, blocks=event.total)
        if isinstance(event, Notice):
            return replace(self, notices=f"{self.notices} {event.text}".strip())
        return self

    @property
    def objects(self) -> str:
        """Which block's objects are separated, in words; empty while tiles come."""
        return f"objects: block {self.block} of {self.blocks}" if self.blocks else ""

    @property
    def text(self) -> str:
        """What is being done, in words."""
        tiles = f"tile {self.tile} of {self.tiles}" if self.tiles else "starting"
        return self.objects or tiles
