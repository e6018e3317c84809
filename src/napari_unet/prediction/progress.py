"""How far a prediction is: its events as one value, for the window and for the command line."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_unet.notice import Notice
from napari_unet.prediction.events import (
    BlockSeparated,
    PredictionStarted,
    TilePredicted,
    TileWritten,
)


@dataclass(frozen=True)
class PredictionProgress:
    """How far the prediction of an image is.

    Parameters
    ----------
    tile, tiles : int
        How many are done, of how many.
    block, blocks : int
        The same of the blocks whose objects are separated at present; 0 while tiles come.
    notices : str
        What the user should know.
    """

    tile: int = 0
    tiles: int = 0
    block: int = 0
    blocks: int = 0
    notices: str = ""

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
