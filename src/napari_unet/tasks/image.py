"""Images: what comes out are grey values, learned from pairs of images or from noise alone.

Noise2Void (Krull, Buchholz and Jug 2019, arXiv 1811.10980) needs no clean image: the network is
asked for pixels that it is not shown. Noise that differs from pixel to pixel cannot be foretold
from the surroundings, so that what it learns to say is what lies beneath.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.intensity import IntensityNormalization, IntensityRange
from napari_unet.data.labels import UNLABELLED, Target
from napari_unet.errors import ImageError, LabelsError
from napari_unet.tasks.base import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import Scaling
    from napari_unet.data.labels import IntArray, Kind
    from napari_unet.objects.corrections import Edit
    from napari_unet.tasks.base import Counts, Decision
    from napari_unet.tasks.table import ClassTable

# Bright beads are to stay as bright as they are.
_INTENSITY = IntensityNormalization(lowest=-30.0, highest=30.0)
_FIXED = {
    "unpainted": "background",
    "start": "random",
    "binning": 1.0,
    "zoom": 0.0,
    "elastic_sigma": 0.0,
    "intensity_jitter": 0.0,
    "class_balance": 0.0,
}
# Noise is the same everywhere: more pixels would fill the memory, and teach no more.
_ENOUGH_PIXELS = 2**23
# So many values of the targets, from so many frames, tell their range.
_FRAMES_MEASURED, _MEASURED = 16, 2**18
# This share of the pixels of a patch is blind, each shown the value of one so far away at most.
_BLIND_SHARE, _BLIND_REACH = 0.05, 2


class Images(Task):
    """One channel of the network, whose value is the grey value.

    Where an image teaches itself it is the target, of pixels that the network does not see.
    """

    def n_classes(self, painted: Sequence[int]) -> int:
        return 1

    def check(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Refuse targets that are no numbers, or hold pixels that are none."""
        labels = np.asarray(labels)
        if labels.dtype.kind not in "uifb":
            raise LabelsError(f"A target image of dtype {labels.dtype} has no grey values.")
        bad = 0 if self.teaches_itself else labels.size - int(np.isfinite(labels).sum())
        if bad:
            raise LabelsError(
                f"{bad} pixels of the target image are not finite (NaN or infinite): there is "
                "nothing to learn for them. Replace them, or cut the images where both are whole."
            )
        return labels

    def paint_of(self, labels: NDArray[Any], frame: Frame) -> NDArray[Any]:
        """Return the target image; without pairs that is the noisy image itself."""
        if not self.teaches_itself:
            return labels.astype(np.float32)
        if frame.channels != 1:
            raise ImageError(
                f"The image has {frame.channels} channels, and noise is learned one channel at a "
                "time. Choose one (--channels 0)."
            )
        pixels = frame.read(tuple(slice(0, size) for size in frame.spatial_shape))
        return _middle(pixels).astype(np.float32)

    def target(
        self, labels: IntArray, table: ClassTable, sliver: float, anisotropy: float
    ) -> Target:
        values = np.asarray(labels, np.float32)
        classes = np.where(np.isfinite(values), np.int16(0), np.int16(UNLABELLED))
        objects = np.broadcast_to(np.int32(0), values.shape)  # takes no memory
        return Target(classes, objects, None, np.nan_to_num(values, posinf=0, neginf=0))

    def measured(
        self, table: ClassTable, frames: Iterable[tuple[NDArray[Any], IntensityRange]]
    ) -> ClassTable:
        """Find out which range the targets have beside that of their images."""
        known = list(frames)
        if all(intensity.is_constant for _, intensity in known):
            raise ImageError(
                "The images have the same value everywhere: there is nothing to learn from. Choose "
                "others, or another channel."
            )
        if self.teaches_itself or table.finer > 1:  # which has the grey values of its image
            return table
        parts = []
        for labels, intensity in known[:: max(1, len(known) // _FRAMES_MEASURED)]:
            low, span = _range_of(intensity)
            step = max(1, labels.size // _MEASURED)
            parts.append((labels.ravel()[::step].astype(np.float64) - low) / span)
        values = np.concatenate(parts)
        bottom, top = np.percentile(values, (_INTENSITY.low_percentile, _INTENSITY.high_percentile))
        if top <= bottom:  # nearly all pixels alike: take the few that differ
            bottom, top = values.min(), values.max()
        if top <= bottom:
            raise ImageError(
                "The target images have the same value everywhere: there is nothing to learn. "
                "Choose the images that the network is to make."
            )
        return replace(table, target_range=(float(bottom), float(top)))

    def scaled(self, target: Target, intensity: IntensityRange, table: ClassTable) -> Target:
        assert target.values is not None
        (low, span), (bottom, top) = _range_of(intensity), table.target_range
        values = ((target.values.astype(np.float64) - low) / span - bottom) / (top - bottom)
        values = values.clip(_INTENSITY.lowest, _INTENSITY.highest)
        return replace(target, values=values.astype(np.float32))

    def in_image(
        self, values: NDArray[np.float32], intensity: Scaling, table: ClassTable
    ) -> NDArray[np.float32]:
        """Undo `scaled`."""
        assert isinstance(intensity, IntensityRange)
        (low, span), (bottom, top) = _range_of(intensity), table.target_range
        grey = (values.astype(np.float64) * (top - bottom) + bottom) * span + low
        return grey.astype(np.float32)

    def corrections(self, before: IntArray, after: IntArray, annotation: IntArray) -> Edit:
        raise NotImplementedError("images are not corrected")

    def asked(
        self,
        images: Tensor,
        targets: Tensor,
        chances: Sequence[np.random.Generator],
        table: ClassTable,
    ) -> tuple[Tensor, Tensor]:
        """Blind some pixels, and ask for these alone; of finer images for what enlarging lacks."""
        if table.finer > 1:
            return images, _beyond_enlarging(images, targets)
        if not self.teaches_itself:
            return images, targets
        import torch

        blinded = [_blinded(*patch) for patch in zip(images, targets, chances, strict=True)]
        shown, asked = (torch.stack(parts) for parts in zip(*blinded, strict=True))
        return shown, asked

    def completed(
        self,
        said: NDArray[np.float32],
        frame: Frame,
        intensity: Scaling,
        region: Region,
        table: ClassTable,
    ) -> NDArray[np.float32]:
        """Add the image as it is enlarged to what the network says that it lacks."""
        if table.finer == 1:
            return said
        enlarged: NDArray[np.float32] = _middle(intensity.normalise(frame.read(region)))
        return said + enlarged[np.newaxis]

    def for_loss(self, answers: Tensor) -> Tensor:
        return answers.contiguous()

    def loss(
        self, scores: Tensor, classes: Tensor, weights: Tensor, error: str = "squared"
    ) -> Tensor:
        from napari_unet.tasks.losses import weighted_error

        return weighted_error(scores, classes, weights, error)

    def counts(
        self, table: ClassTable, decision: Decision, dense: bool, membrane: int | None
    ) -> Counts:
        from napari_unet.tasks.validation import GreyValues

        return GreyValues()

    def results(self, table: ClassTable) -> tuple[int, ...]:
        return (0,)

    def decode(
        self, probabilities: NDArray[np.float32], table: ClassTable, decision: Decision
    ) -> IntArray:
        raise NotImplementedError("images are no labels")

    def as_result(self, annotation: IntArray) -> NDArray[Any]:
        return annotation

    def channel_names(self, table: ClassTable) -> tuple[str, ...]:
        return ("grey value",)

    def recipe(self, table: ClassTable, decision: Decision) -> str:
        return "Grey values, in the range of the image that the network sees."

    def recipe_in_python(self, table: ClassTable, decision: Decision) -> str:
        return "grey = probabilities[0]"


def _middle(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the channel, of those of all timepoints of a window, that is predicted."""
    middle: NDArray[Any] = pixels[len(pixels) // 2]
    return middle


def _range_of(intensity: IntensityRange) -> tuple[float, float]:
    """Return which grey value is 0 to the network, and how far away 1 is."""
    low, high = (_middle(np.asarray(values)) for values in (intensity.low, intensity.high))
    return float(low), float(high - low) if high > low else 1.0


def _beyond_enlarging(images: Tensor, targets: Tensor) -> Tensor:
    """Take from the answers what the images show already, in their middle channel."""
    seen = images[:, images.shape[1] // 2]
    for axis, size in enumerate(targets.shape[2:], start=1):
        seen = seen.narrow(axis, (seen.shape[axis] - size) // 2, size)
    answers = targets.clone()
    answers[:, 0] -= seen
    return answers


def _blinded(image: Tensor, target: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Show other values at some pixels of the middle channel, and ask for what was there."""
    import torch

    sizes = np.array(target.shape[1:])
    margins = (np.array(image.shape[1:]) - sizes) // 2
    number = max(1, round(_BLIND_SHARE * float(np.prod(sizes))))
    at = np.stack([rng.integers(size, size=number) for size in sizes])  # (ndim, number)
    steps = rng.integers(-_BLIND_REACH, _BLIND_REACH + 1, (2, number))
    steps[1, ~steps.any(axis=0)] = 1  # never the pixel itself
    from_ = at + margins[:, None]
    from_[-2:] += steps
    outside = (from_ < 0) | (from_ >= np.array(image.shape[1:])[:, None])
    from_ = np.where(outside, 2 * (at + margins[:, None]) - from_, from_)

    def places(positions: NDArray[np.int64]) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(along).to(image.device) for along in positions)

    shown = image.clone()
    middle = len(image) // 2
    shown[middle][places(at + margins[:, None])] = image[middle][places(from_)]
    weights = torch.zeros_like(target[1])
    weights[places(at)] = target[1][places(at)]
    return shown, torch.stack([target[0], weights])


def _task(kind: Kind, teaches_itself: bool) -> Images:
    return Images(
        kind=kind,
        thing="image",
        things="images",
        activation="linear",
        result="image",
        paints=False,
        fewest_classes=1,
        bends=False,
        intensity=_INTENSITY,
        fixed=_FIXED,
        loss_settings=("error",),
        teaches_itself=teaches_itself,
        enough_pixels=_ENOUGH_PIXELS * teaches_itself,
    )


IMAGE = _task("image", teaches_itself=False)
DENOISE = _task("denoise", teaches_itself=True)
