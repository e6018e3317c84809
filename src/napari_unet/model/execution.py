"""Run a network on one box of a frame so that the result does not depend on the box.

A U-Net shifts with its input only in steps of its pooling factor, so every box is run on the same
pooling grid: executed without padding, with the input starting at 2 modulo the factor in image
coordinates. That is the grid on which a padded network runs on the whole image: its two 3x3
convolutions take two pixels, so that the first pooling starts at a multiple of the factor.
Along Z a network with flat levels is one of fewer poolings, and has a factor of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.data.frames import moved, read_mirrored, scaled_frame
from napari_unet.data.rescaling import Factors, enlarged, scaled_region
from napari_unet.model.config import OUTPUT_PHASE, UNetConfig, shortest_output
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.memory import Fallback

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import Scaling
    from napari_unet.model.external import ReadyNetwork
    from napari_unet.model.unet import UNet

# Quarter turns, and whether mirrored: the eight symmetries of the square.
_VIEWS = tuple((turns, mirror) for mirror in (False, True) for turns in range(4))


@dataclass(frozen=True)
class Runner:
    """A network made ready to predict regions of frames."""

    network: ReadyNetwork
    factors: Factors = ()
    """Pixels of the image per pixel of the network, along ``[Z]YX``; empty: they are the same."""
    views: int = 1
    """1; 4: the average over all quarter turns in the plane; 8: and their mirror images."""
    spare: Callable[[], ReadyNetwork] | None = None
    """Makes the network ready on the CPU, for where its device fails; see `Fallback`."""
    between_views: Callable[[], object] = tuple
    """Called between two views: what it raises ends what is computed there."""

    @cached_property
    def fallback(self) -> Fallback:
        """What computes boxes that do not fit, and what has been noticed of them."""
        return Fallback(self.network, self.spare)

    @classmethod
    def of(
        cls,
        network: UNet,
        device: torch.device,
        precision: torch.dtype = torch.float32,
        factors: Factors = (),
        views: int = 1,
    ) -> Runner:
        """Take a snapshot of a network, which may go on learning."""
        return cls(InferenceNetwork(network, device, precision), factors, views)

    def probabilities(
        self, frame: Frame, intensity: Scaling, region: Region
    ) -> NDArray[np.float32]:
        """Compute the class probabilities in any box inside a frame: C (classes) and its sizes.

        `intensity` is that of the whole frame, which is mirrored beyond its borders.
        """
        return self.compute(self.read(frame, intensity, region), frame, region)

    def read(self, frame: Frame, intensity: Scaling, region: Region) -> NDArray[np.float32]:
        """Read what the network sees of one region; no torch, so any thread may do it.

        That is C_in followed by the network's input, normalised.
        """
        scaled, of_network = self._seen(frame, region)
        boxes, halos = self._outputs(of_network), self.network.config.halos
        start = [box[0] - halo for box, halo in zip(boxes, halos, strict=True)]
        stop = [box[1] + halo for box, halo in zip(boxes, halos, strict=True)]
        return self._of_network(intensity.normalise(read_mirrored(scaled, start, stop)))

    @torch.inference_mode()
    def compute(
        self, pixels: NDArray[np.float32], frame: Frame, region: Region
    ) -> NDArray[np.float32]:
        """Compute the class probabilities in one region from what `read` gave for it.

        Not a pixel of the frame is read. Takes and returns arrays as `read` and `probabilities`
        return them; NotEnoughMemoryError where not even the smallest part of the region fits.
        """
        scaled, of_network = self._seen(frame, region)

        def compute(network: ReadyNetwork, image: Tensor) -> Tensor:
            return average_of_views(network.probabilities, image, self.views, self.between_views)

        probabilities = self.fallback.compute(pixels, compute)  # (C, *)
        start = [start for start, _ in self._outputs(of_network)]
        crop = moved(of_network, (0,) * len(start), start)
        result = self._finite(probabilities[(slice(None), *crop)])
        if scaled is frame:
            return result
        return enlarged(result, [part.start for part in of_network], region, self.factors)

    def _of_network(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what a starting model sees of several channels: their mean, as in training."""
        config = self.network.config
        one_band = isinstance(config, UNetConfig) and config.input_bands == 1
        return pixels.mean(axis=0, keepdims=True) if one_band and len(pixels) > 1 else pixels

    def _finite(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give pixels whose probabilities (C, *) are no numbers to the first class, and warn.

        Of maps that do not exclude each other they are 0: no class, or as dark as the image.
        """
        if math.isfinite(float(probabilities.sum())):
            return probabilities
        lost = ~np.isfinite(probabilities).all(axis=0)
        probabilities = np.where(lost, np.float32(0), probabilities)
        config = self.network.config
        exclusive = not isinstance(config, UNetConfig) or config.output == "softmax"
        if exclusive and len(probabilities) > 1:
            probabilities[0][lost] = 1
        self.fallback.note_once(
            "The network gives no numbers for some pixels: they are shown as the first class or as "
            "background. The model may be damaged, or the image has extreme values."
        )
        return probabilities

    def _seen(self, frame: Frame, region: Region) -> tuple[Frame, Region]:
        """Return the frame on the network's own grid, and the region of it that is needed."""
        scaled = scaled_frame(frame, self.factors)
        if scaled is frame:
            return frame, region
        return scaled, scaled_region(region, self.factors, scaled.spatial_shape)

    def _outputs(self, region: Region) -> list[tuple[int, int]]:
        """Return start and stop of the output that covers a region, along each axis."""
        config = self.network.config
        return [
            aligned_output(part.start, part.stop, factor, config.output_phase, shortest)
            for part, factor, shortest in zip(
                region, config.pooling_factors, config.shortest_outputs, strict=True
            )
        ]


def average_of_views(
    probabilities: Callable[[Tensor], Tensor],
    image: Tensor,
    views: int,
    between_views: Callable[[], object] = tuple,
) -> Tensor:
    """Average the probabilities over so many views of an image; (B, C_in, *) to (B, C, *').

    Inputs begin at 2 and end at -2 modulo the pooling factor (those of others at 0): a box turned
    round meets the same grid wherever it lies.
    """
    total = probabilities(image)
    for turns, mirror in _VIEWS[1:views]:
        between_views()
        view = torch.rot90(image, turns, (-2, -1))
        seen = probabilities(view.flip(-1) if mirror else view)
        seen = seen.flip(-1) if mirror else seen
        total = total + torch.rot90(seen, -turns, (-2, -1))
    return total / views


def aligned_output(
    start: int, stop: int, factor: int, phase: int = OUTPUT_PHASE, shortest: int | None = None
) -> tuple[int, int]:
    """Find the smallest output of an unpadded network that lies on the grid and covers a range.

    All along one axis: `start` and `stop` of the range, the network's pooling factor, where outputs
    begin modulo it (`phase`), and the `shortest` output, to which longer ones add the factor. Of a
    U-Net, start is -2 modulo the factor, and the length 4 modulo it.
    """
    begin = start - (start - phase) % factor
    shortest = shortest_output(factor) if shortest is None else shortest
    further = max(0, -(-(stop - begin - shortest) // factor))
    return begin, begin + shortest + further * factor
