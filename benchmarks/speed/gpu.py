"""One short visit to a GPU: all that only a GPU can tell, in one run, into one JSON file.

Usage: ``python benchmarks/speed/gpu.py --minutes 6 --output gpu.json``. It needs no network and no
window, nothing but the package and its dependencies; the CUDA tests run where pytest is installed.
Parts come in the order of their worth, and what no time is left for is named. ``--quick`` tries on
any machine, a CPU too, whether it works: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

_CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_CHECKOUT / "benchmarks")]

import subject  # noqa: E402
from case_training import matmul_rate, trainer_of, waited_for  # noqa: E402
from circumstances import git_commit, machine_in_words, versions  # noqa: E402
from figures import Figure, Options, fastest  # noqa: E402

import napari_unet as nu  # noqa: E402
from napari_unet.model.devices import choose_device, describe, fastest_precision  # noqa: E402
from napari_unet.model.inference import InferenceNetwork  # noqa: E402
from napari_unet.samples import load_nuclei_2d  # noqa: E402
from napari_unet.training.config import TrainConfig  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_unet.training.config import PresetName
    from napari_unet.training.trainer import Trainer

_TRAINED_SECONDS = 60
_PRESETS: tuple[PresetName, ...] = ("fast", "accurate")
_PROFILED_STEPS = 20
_TESTS = ("tests/training", "tests/prediction", "tests/tasks")
_SHARES_OF_PEAK = {1: 40.0, 16: 55.0}  # goals: of the matmul peak, by tiles at once


def main() -> None:
    """Run the parts that there is time for, and write what they find after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument(
        "--quick", action="store_true", help="small and short: figures mean nothing"
    )
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    chosen = parser.parse_args()
    end = time.monotonic() + 60 * chosen.minutes
    options, device = Options(rounds=1 if chosen.quick else 5, quick=chosen.quick), choose_device()
    found: dict[str, Any] = {
        "machine": machine_in_words(),
        "device": describe(device),
        "versions": versions(),
        "commit": git_commit(),
        "quick": chosen.quick,
        "left out": [],
    }
    for name, part in _PARTS.items():
        if time.monotonic() > end:
            found["left out"].append(name)
            continue
        print(f"== {name}", flush=True)
        began = time.monotonic()
        figures = []
        for figure in part(device, options):
            figures.append(asdict(figure))
            print(f"   {figure.what}: {figure.value:.4g} {figure.unit} {figure.goal}", flush=True)
        found[name] = {"seconds": round(time.monotonic() - began, 1), "figures": figures}
        chosen.output.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{chosen.output}; left out: {', '.join(found['left out']) or 'nothing'}")


def _forward(device: torch.device, options: Options) -> Iterator[Figure]:
    """Measure the paper's network on tiles of 572 pixels, against the speed of matmul."""
    precision = fastest_precision(device)
    peak = matmul_rate(precision, device, options)
    yield Figure(f"matmul, {precision}".replace("torch.", ""), peak / 1e12, "TFLOP/s")
    network = nu.UNet(nu.UNetConfig.paper()).eval()
    ready = InferenceNetwork(network, device, precision)
    edge = 188 if options.quick else 572
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, edge, edge))
    for count in (1,) if options.quick else (1, 4, 16, 32):
        tiles = torch.zeros(count, 1, edge, edge, device=device)
        forward = waited_for(partial(ready.scores, tiles), device)
        rate = count / fastest({"it": forward}, options.rounds)["it"]
        yield Figure(f"paper network forward, {count} tile(s) of {edge}", rate, "tiles/s")
        share = 100 * rate * counter.get_total_flops() / peak
        what = f"paper network forward, {count} tile(s): share of the matmul peak"
        goal = _SHARES_OF_PEAK.get(count)
        yield Figure.at_least(what, share, "%", goal) if goal else Figure(what, share, "%")


def _steps(device: torch.device, options: Options) -> Iterator[Figure]:
    """Measure a step of each network, what of it the device works, and the calls of torch."""
    small: dict[str, Any] = {"patch_size": 32, "batch_size": 1} if options.quick else {}
    configs = {
        "preset fast": TrainConfig(device=device.type, **small),
        "preset accurate": TrainConfig.preset("accurate", device=device.type, **small),
    }
    for name, config in configs.items():
        trainer = trainer_of(config, device)
        n_steps = 2 if options.quick else _PROFILED_STEPS

        def steps(step: Callable[[float], float] = trainer.train_step, n: int = n_steps) -> None:
            for _ in range(n):
                step(0.5)

        with trainer.batches:
            seconds = fastest({"it": waited_for(steps, device)}, options.rounds)["it"] / n_steps
            yield Figure(f"{name}: step", 1e3 * seconds, "ms")
            yield Figure(f"{name}: calls of torch in one, all threads", _calls_of(trainer), "")
            if device.type == "cuda":
                busy = _busy_seconds(steps) / n_steps
                yield Figure(f"{name}: work of the GPU in it", 1e3 * busy, "ms")
                yield Figure.at_most(f"{name}: step over the GPU's work", seconds / busy, "x", 1.3)


def _calls_of(trainer: Trainer) -> int:
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        trainer.train_step(0.5)
    return sum(event.count for event in profiled.key_averages() if event.key.startswith("aten::"))


def _busy_seconds(action: Callable[[], object]) -> float:
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        action()
        torch.cuda.synchronize()
    print(profiled.key_averages().table(sort_by="self_device_time_total", row_limit=15))
    microseconds: float = sum(event.self_device_time_total for event in profiled.key_averages())
    return microseconds / 1e6


def _model(options: Options) -> nu.TrainedModel:
    if not options.quick:
        return subject.trained_model()
    image, strokes, _ = load_nuclei_2d()
    return nu.train(np.asarray(image), np.asarray(strokes), config=TrainConfig(steps=2))


def _predictions(device: torch.device, options: Options) -> Iterator[Figure]:
    """Measure classes and objects of a large image and of a small one."""
    model = _model(options)
    for size in (256,) if options.quick else (4096, 512):
        image = subject.image_of(size)
        seconds = fastest(
            {kind: partial(model.predict, image, kind) for kind in ("classes", "objects")},
            options.rounds,
        )
        for kind, spent in seconds.items():
            yield Figure(f"predict {size} x {size}, {kind}", 1e3 * spent, "ms")
        more = seconds["objects"] / seconds["classes"]
        yield Figure.at_most(f"{size} x {size}: objects over classes", more, "x", 1.25)


def _trainings(device: torch.device, options: Options) -> Iterator[Figure]:
    """Train each preset on the strokes of the sample for a minute, and score it."""
    image, strokes, truth = load_nuclei_2d()
    for preset in _PRESETS[:1] if options.quick else _PRESETS:
        minutes = (3 if options.quick else _TRAINED_SECONDS) / 60
        config = TrainConfig.preset(preset, device=device.type, minutes=minutes)
        model = nu.train(np.asarray(image), np.asarray(strokes), config=config)
        objects = model.predict(np.asarray(image), "objects")
        score = nu.evaluate(objects, np.asarray(truth), kind="objects")["f1_50"]
        yield Figure(f"preset {preset}, {60 * minutes:.0f} s: F1 at IoU 0.5", score, "")
        yield Figure(f"preset {preset}: steps made", model.trained.record.steps, "")


def _tests(device: torch.device, options: Options) -> Iterator[Figure]:
    """Run the tests of training and prediction on this device."""
    if importlib.util.find_spec("pytest") is None:
        print("   pytest is not installed")
        return
    tests = _TESTS[-1:] if options.quick else _TESTS
    environment = {**os.environ, "NAPARI_UNET_TEST_DEVICE": device.type}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow and not fuzz", *tests]
    done = subprocess.run(command, cwd=_CHECKOUT, env=environment, capture_output=True, text=True)
    print(*done.stdout.splitlines()[-15:], sep="\n")
    yield Figure.at_most(f"tests on {device.type}: exit code", done.returncode, "", 0)


_PARTS: dict[str, Callable[[torch.device, Options], Iterator[Figure]]] = {
    "training steps": _steps,
    "predictions": _predictions,
    "forward": _forward,
    "tests": _tests,
    "trainings": _trainings,
}

if __name__ == "__main__":
    main()
