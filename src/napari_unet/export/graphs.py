"""A U-Net as other programs run it, and the files it goes to: ONNX, TorchScript, torch.export.

All that our own prediction does around the network is part of the graph, so that nothing has to be
programmed anew elsewhere: clipping of hot pixels, binning, mirrored borders, the unpadded network
on its pooling grid (see :mod:`napari_unet.model.execution`), turned and mirrored views, softmax.

Any image size is taken. A tile of an image gives what the whole image gives where it begins at a
multiple of `tile_steps`, except in the outer `tile_halos` of it where the image goes on.

`torch.jit.trace` and `torch.export` follow the sizes of an image through this module as long as no
line decides by them; what is counted is counted by a buffer, which lies where the weights do.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import math
import warnings
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from napari_unet.data.intensity import HIGHEST, LOWEST
from napari_unet.errors import ConfigError, ModelMismatchError
from napari_unet.model.config import OUTPUT_PHASE
from napari_unet.model.execution import average_of_views

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.export.description import Facts
    from napari_unet.model.config import UNetConfig
    from napari_unet.model.unet import UNet

# Under this key each file holds its facts as JSON.
FACTS_KEY = "napari_unet"
# Understood by runtimes of 2023 and later.
ONNX_OPSET, _ONNX_IR = 18, 8
INPUT, OUTPUT = "image", "probabilities"
_LARGEST_SIZE = 1 << 20
# The binning is a fraction of whole numbers, the lower one up to this.
_FINEST = 100


class ExportNetwork(nn.Module):
    """A copy of a trained U-Net, with all that a prediction does around it.

    `binning` is how many pixels of the image one of the network is long, along Y and X; `views` is
    1, or 4: the average over all quarter turns in the plane, or 8: and their mirror images.
    """

    one: Tensor

    def __init__(self, network: UNet, binning: float = 1, views: int = 1) -> None:
        super().__init__()
        self.network: Final = network.folded().cpu().unpadded()
        self.views: Final = views
        self.rims: Final = [-OUTPUT_PHASE % factor for factor in network.config.pooling_factors]
        # as whole numbers: of large images positions would have too few digits in float32
        self.ratios: Final = [
            ratio.as_integer_ratio() for ratio in _ratios(network.config, binning)
        ]
        self.register_buffer("one", torch.ones(1, dtype=torch.int64))
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the class probabilities of each pixel.

        From (B, in_channels * window, *) of any sizes, percentiles at 0 and 1, to
        (B, out_channels, *) of the same sizes; both float32.
        """
        coarse = image.clamp(LOWEST, HIGHEST)
        for axis, (k, d) in enumerate(self.ratios, start=2):
            coarse = self._resampled(coarse, axis, k, d, (coarse.shape[axis] * d + k - 1) // k)
        seen = self._with_halo(coarse)
        probabilities = average_of_views(self.network.probabilities, seen, self.views)  # with a rim
        for axis, (rim, (k, d)) in enumerate(zip(self.rims, self.ratios, strict=True), start=2):
            probabilities = probabilities.narrow(axis, rim, coarse.shape[axis])
            probabilities = self._resampled(probabilities, axis, d, k, image.shape[axis])
        return probabilities

    def _with_halo(self, image: Tensor) -> Tensor:
        """Mirror an image beyond its borders as far as the unpadded network looks."""
        config = self.network.config
        for axis, (rim, halo, factor, shortest) in enumerate(
            zip(
                self.rims,
                config.halos,
                config.pooling_factors,
                config.shortest_outputs,
                strict=True,
            ),
            start=2,
        ):
            # of a factor of 2 the shortest output may be longer than the image
            steps = (image.shape[axis] + rim - shortest + factor - 1) // factor + int(factor == 2)
            length = 2 * halo + shortest + steps * factor
            image = self._mirrored(image, axis, self._numbers(length) - rim - halo)
        return image

    def _numbers(self, length: int) -> Tensor:
        """Count from 0; `torch.arange` would be traced for one device."""
        return self.one.expand(length).cumsum(0) - 1

    def _mirrored(self, image: Tensor, axis: int, positions: Tensor) -> Tensor:
        """Take pixels along an axis, of which those beyond its ends are mirrored."""
        last = self.one * (image.shape[axis] - 1)  # a tensor: ONNX divides none by a size
        period = (2 * last).clamp(min=1)
        positions = torch.remainder(positions.abs(), period)
        positions = torch.minimum(torch.minimum(positions, period - positions), last)
        return image.index_select(axis, positions)

    def _resampled(self, image: Tensor, axis: int, k: int, d: int, length: int) -> Tensor:
        """Bring an axis to pixels that are each k / d of the previous ones long."""
        if k == d:
            return image
        return (self._averaged if k > d else self._between)(image, axis, k, d, length)

    def _averaged(self, image: Tensor, axis: int, k: int, d: int, length: int) -> Tensor:
        """Average what each new pixel covers; at the edge, what there is of it."""
        size = self.one * image.shape[axis]
        start = self._numbers(length) * k  # in parts of which a pixel has d
        stop = torch.minimum(start + k, size * d)
        parts = []
        for further in range((k + d - 1) // d + (d > 1)):
            at = start // d + further
            covered = torch.minimum(stop, (at + 1) * d) - torch.maximum(start, at * d)
            pixels = image.index_select(axis, torch.minimum(at, size - 1))
            parts.append(_along(axis, covered.clamp(min=0), image) * pixels)
        return torch.stack(parts).sum(dim=0) / _along(axis, stop - start, image)

    def _between(self, image: Tensor, axis: int, k: int, d: int, length: int) -> Tensor:
        """Interpolate at the centres of the new pixels; beyond the ends the outermost hold."""
        last = self.one * (image.shape[axis] - 1)
        at = ((2 * self._numbers(length) + 1) * k - d).clamp(min=0)
        low = at // (2 * d)
        share = _along(axis, at - low * (2 * d), image) / (2 * d)
        below = image.index_select(axis, torch.minimum(low, last))
        above = image.index_select(axis, torch.minimum(low + 1, last))
        return below * (1 - share) + above * share


def _along(axis: int, values: Tensor, image: Tensor) -> Tensor:
    """Return whole numbers along one axis of an image as factors of its pixels."""
    shape = [1] * image.ndim
    shape[axis] = -1
    return values.to(image.dtype).reshape(shape)


def tile_steps(config: UNetConfig, binning: float) -> tuple[int, ...]:
    """Return where tiles may begin: multiples of so many image pixels, along ``[Z]YX``."""
    return tuple(
        (factor * ratio).numerator
        for factor, ratio in zip(config.pooling_factors, _ratios(config, binning), strict=True)
    )


def tile_halos(config: UNetConfig, binning: float) -> tuple[int, ...]:
    """Return how many image pixels at a tile's edge are not the whole image's, along ``[Z]YX``.

    A pixel sees `halo` pixels to one side and up to a pooling factor less one more to the other,
    as it lies on the pooling grid. A last tile may hold any of them: it sees the image's border
    mirrored so far.
    """
    found = []
    steps = tile_steps(config, binning)
    for halo, factor, ratio, step in zip(
        config.halos, config.pooling_factors, _ratios(config, binning), steps, strict=True
    ):
        between = 1 if ratio.denominator > 1 else 0  # pixels lie across those of the network
        found.append(math.ceil((halo + factor - 1 + between) * ratio / step) * step)
    return tuple(found)


def _ratios(config: UNetConfig, binning: float) -> tuple[Fraction, ...]:
    """Return the pixels of the image per pixel of the network along ``[Z]YX``, exactly.

    Raises ModelMismatchError if the binning has so many digits that hardly a tile would begin where
    a whole pixel does.
    """
    ratio = Fraction(binning).limit_denominator(_FINEST)
    if float(ratio) != binning:
        raise ModelMismatchError(
            f"The model has a binning of {binning:g}, and files for other programs take no more "
            "than two decimals. Train with a rounded one, as in 1.25."
        )
    return (Fraction(1),) * (config.ndim - 2) + (ratio, ratio)


# --- Files ----------------------------------------------------------------------------------------


def require(*modules: str) -> None:
    """Make sure that optional libraries are there.

    Raises ConfigError if some are not installed; the text says how to get them.
    """
    missing = []
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(module)
    if missing:
        of = {"bioimageio" if each.startswith("bioimageio") else "onnx" for each in missing}
        extras = ",".join(sorted(of))
        raise ConfigError(
            f"This needs {', '.join(missing)}: install it with "
            f'pip install "napari-unet-paint[{extras}]"'
        )


def write_onnx(network: ExportNetwork, facts: Facts, path: Path) -> None:
    """Write one ONNX file with its weights inside; sizes are free along all spatial axes."""
    exported = _exported(network, facts)
    with _quietly():
        program = torch.onnx.export(
            exported,
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=ONNX_OPSET,
            verbose=False,
        )
    assert program is not None
    model: Any = program.model_proto
    model.ir_version = _ONNX_IR
    model.producer_name = facts.as_values()["made_with"]
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for node in model.graph.node:  # where in which file of this machine it came from
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (model.graph.input[0], model.graph.output[0]):
        del value.metadata_props[:]
        for dimension, name in list(
            zip(value.type.tensor_type.shape.dim, facts.axes.lower(), strict=True)
        )[2:]:
            dimension.dim_param = name
    entry = model.metadata_props.add()
    entry.key, entry.value = FACTS_KEY, facts.as_json()
    path.write_bytes(model.SerializeToString())


def write_torchscript(network: ExportNetwork, facts: Facts, path: Path) -> None:
    """Write one TorchScript archive."""
    with _quietly():
        # Checked is the file itself, at other sizes.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, _example(facts), check_trace=False
        )
        content = io.BytesIO()  # torch raises no OSError for files
        torch.jit.save(traced, content, _extra_files={f"{FACTS_KEY}.json": facts.as_json()})
    path.write_bytes(content.getvalue())


def write_torch_export(network: ExportNetwork, facts: Facts, path: Path) -> None:
    """Write one archive of torch.export; sizes are free along all spatial axes."""
    exported = _exported(network, facts)
    with _quietly(), path.open("wb") as file:
        torch.export.save(exported, file, extra_files={f"{FACTS_KEY}.json": facts.as_json()})


def smallest_sizes(facts: Facts) -> tuple[int, ...]:
    """Return the smallest image that ONNX and torch.export take, along ``[Z]YX``."""
    record = facts.record
    plane = (max(2, int(record.binning) + 1),) * 2  # two pixels of the network
    return (2,) * (record.network.ndim - 2) + plane


def _example(facts: Facts) -> Tensor:
    """Return an image whose sizes all differ, so that none is taken for another."""
    sizes = [3 * least + 7 * axis + 20 for axis, least in enumerate(smallest_sizes(facts))]
    return torch.zeros(1, facts.record.network.input_bands, *sizes)


def _exported(network: ExportNetwork, facts: Facts) -> torch.export.ExportedProgram:
    sizes = [
        torch.export.Dim(letter.lower(), min=least, max=_LARGEST_SIZE)
        for letter, least in zip(facts.axes[2:], smallest_sizes(facts), strict=True)
    ]
    with _quietly():
        return torch.export.export(
            network,
            (_example(facts),),
            dynamic_shapes=(dict(enumerate(sizes, start=2)),),
            prefer_deferred_runtime_asserts_over_guards=True,
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep remarks from the user that concern torch's own future, not his model."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
