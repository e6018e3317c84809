"""Prediction of one image by the same network: ours, the bare network, MONAI and nnU-Net."""

from __future__ import annotations

import importlib.util
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import subject
import torch
from figures import Figure, Options, fastest
from torch.utils.flop_counter import FlopCounterMode

from napari_unet.data.frames import Frame
from napari_unet.model.devices import choose_device, describe, fastest_precision
from napari_unet.model.execution import Runner
from napari_unet.model.inference import InferenceNetwork
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.plan import plan_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    import napari_unet as nu

_MATMUL_SIZES = (1024, 2048, 4096)


def measure(options: Options) -> Iterator[Figure]:
    """Compare labels of an image from raw pixels with the labels of others from normalised ones."""
    size = 512 if options.quick else 2048
    model, image = subject.trained_model(), subject.image_of(size)
    device = choose_device("auto")
    million = size * size / 1e6
    normalised = _normalised(model, image).to(device)
    ours = {
        "auto": lambda: model.predict(image, "classes"),
        "float32": lambda: model.predict(image, "classes", precision="float32"),
        "bare": _bare_forward(model, image, device),
    }
    seconds = fastest(ours, options.rounds)
    yield Figure(f"ours, as it chooses ({describe(device)})", million / seconds["auto"], "Mpx/s")
    yield Figure("ours, float32", million / seconds["float32"], "Mpx/s")
    ratio = seconds["auto"] / seconds["bare"]
    yield Figure.at_most("ours over the bare forward of the same tiles", ratio, "x", 1.1)
    yield from _roofline(model, million / seconds["auto"], device)
    yield from _agreement(model, image)
    others = {
        "an unpadded network as one writes it first (572 px, float32)": _by_hand(
            model, normalised, torch.float32
        ),
        "the same, bfloat16, channels last": _by_hand(model, normalised, torch.bfloat16),
        **_monai(model, normalised),
    }
    rounds = max(1, options.rounds // 2)
    # Ours stands among the others again, so that each ratio is of one stretch of time.
    all_seconds = fastest({"ours": ours["auto"], **others}, rounds)
    for name, spent in all_seconds.items():
        if name != "ours":
            yield from _compared(name, spent, all_seconds["ours"], million)
    for name, action in _nnunet(model, normalised).items():
        before = fastest({"ours": ours["auto"]}, 2)["ours"]
        began = time.perf_counter()
        action()  # takes minutes: once, between two stretches of ours
        spent = time.perf_counter() - began
        around = min(before, fastest({"ours": ours["auto"]}, 2)["ours"])
        yield from _compared(f"{name}, one run", spent, around, million)


def _compared(name: str, spent: float, ours: float, million: float) -> Iterator[Figure]:
    yield Figure(name, million / spent, "Mpx/s")
    goal = next((least for start, least in _GOALS.items() if name.startswith(start)), 1.0)
    yield Figure.at_least(f"ours is faster than {name} by", spent / ours, "x", goal)


_GOALS = {"MONAI as shipped": 5.0, "nnU-Net as shipped": 40.0}
_NNUNET_AS_SHIPPED = "nnU-Net as shipped (512 px, half overlap, mirroring, float32)"


def _normalised(model: nu.TrainedModel, image: NDArray[Any]) -> Tensor:
    frame = Frame(image, "YX", 2, ())
    pixels = model.record.intensity.measure(frame).normalise(image[None])
    return torch.from_numpy(pixels)[None]  # (1, 1, Y, X)


def _bare_forward(
    model: nu.TrainedModel, image: NDArray[Any], device: torch.device
) -> Callable[[], object]:
    """Return a run of the network on inputs of our tiles' shapes, and nothing else."""
    plan = plan_prediction(model.record, image, PredictConfig(result="classes"))
    runner = Runner.of(model.trained.unet, device, fastest_precision(device))
    network = runner.network
    assert isinstance(network, InferenceNetwork)
    frame = Frame(image, "YX", 2, ())
    intensity = model.record.intensity.measure(frame)
    inputs = [
        torch.from_numpy(runner.read(frame, intensity, tile))[None].to(device)
        for tile in plan.tiles
    ]

    def forward() -> None:
        for pixels in inputs:
            network.scores(pixels)
        _wait(device)

    return forward


def _roofline(model: nu.TrainedModel, megapixels: float, device: torch.device) -> Iterator[Figure]:
    """Compare with the time that multiplications alone would take at the speed of matmul."""
    network = model.trained.unet
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, 256, 256, device=next(network.parameters()).device))
    flops = counter.get_total_flops() / 256**2  # per pixel, without any halo
    precision = fastest_precision(device)
    peak = max(_matmul_speed(size, precision, device) for size in _MATMUL_SIZES)
    yield Figure(f"matmul peak, {str(precision).removeprefix('torch.')}", peak / 1e9, "GFLOP/s")
    yield Figure("time of ours over the matmul roofline", peak / flops / megapixels / 1e6, "x")


def _matmul_speed(size: int, dtype: torch.dtype, device: torch.device) -> float:
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def multiply() -> None:
        torch.matmul(one, other)
        _wait(device)

    return float(2 * size**3 / fastest({"it": multiply}, 5)["it"])


def _agreement(model: nu.TrainedModel, image: NDArray[Any]) -> Iterator[Figure]:
    labels = model.predict(image, "classes")
    exact = model.predict(image, "classes", precision="float32")
    share = 100 * float(np.mean(labels == exact))
    yield Figure.at_least("labels that agree with float32", share, "%", 99.9)


def _by_hand(model: nu.TrainedModel, image: Tensor, precision: torch.dtype) -> Callable[[], object]:
    """Return the overlap-tile strategy as one writes it first: 572 px in, 388 px out."""
    network = model.trained.unet.unpadded().to(image.device)
    layout = torch.channels_last if precision == torch.bfloat16 else torch.contiguous_format
    network = network.to(memory_format=layout)  # type: ignore[call-overload]
    edge, stride, halo = 572, 384, 92
    padded = torch.nn.functional.pad(image, (halo, edge, halo, edge), mode="replicate")

    def predict() -> Tensor:
        labels = torch.empty(image.shape[2:], dtype=torch.uint8)
        reduced = precision != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(image.device.type, precision, enabled=reduced),
        ):
            for top in range(0, image.shape[2], stride):
                for left in range(0, image.shape[3], stride):
                    tile = padded[:, :, top : top + edge, left : left + edge]
                    found = network(tile.contiguous(memory_format=layout)).argmax(dim=1)[0]
                    part = labels[top : top + stride, left : left + stride]
                    part.copy_(found[: part.shape[0], : part.shape[1]])
        return labels

    return predict


def _monai(model: nu.TrainedModel, image: Tensor) -> dict[str, Callable[[], object]]:
    if importlib.util.find_spec("monai") is None:
        return {}
    from monai.inferers.utils import sliding_window_inference

    network = model.trained.unet.to(image.device)

    def predict(tile: int, precision: torch.dtype, layout: torch.memory_format) -> Tensor:
        placed = network.to(memory_format=layout)  # type: ignore[call-overload]
        reduced = precision != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(image.device.type, precision, enabled=reduced),
        ):
            scores = sliding_window_inference(
                image.contiguous(memory_format=layout), (tile, tile), 1, placed, overlap=0.25
            )
        assert isinstance(scores, torch.Tensor)
        return scores.argmax(dim=1)

    nchw, nhwc = torch.contiguous_format, torch.channels_last
    return {
        "MONAI as shipped (256 px, overlap 0.25, float32)": partial(
            predict, 256, torch.float32, nchw
        ),
        "MONAI at its best (512 px, overlap 0.25, bfloat16, channels last)": partial(
            predict, 512, torch.bfloat16, nhwc
        ),
    }


def _nnunet(model: nu.TrainedModel, image: Tensor) -> dict[str, Callable[[], object]]:
    if importlib.util.find_spec("nnunetv2") is None:
        return {}
    from types import SimpleNamespace

    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    def predict(mirroring: bool) -> Tensor:
        predictor = nnUNetPredictor(use_mirroring=mirroring, device=image.device, allow_tqdm=False)
        predictor.network = model.trained.unet.to(  # type: ignore[call-overload]
            memory_format=torch.contiguous_format
        )
        predictor.configuration_manager = SimpleNamespace(patch_size=(512, 512))
        predictor.label_manager = SimpleNamespace(num_segmentation_heads=2)
        predictor.allowed_mirroring_axes = (0, 1)
        scores = predictor.predict_sliding_window_return_logits(image[0][:, None].contiguous())
        return torch.as_tensor(scores).argmax(dim=0)

    return {
        _NNUNET_AS_SHIPPED: partial(predict, True),
        "nnU-Net without mirroring": partial(predict, False),
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
