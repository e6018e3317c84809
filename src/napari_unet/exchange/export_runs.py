"""Run exported files again, each by the program that others would run it with."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.exchange.export_graphs import require

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    # from C[Z]YX, grey values scaled, to probabilities
    Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def onnx_run(path: Path) -> tuple[str, Run]:
    """Load an ONNX file in onnxruntime; return its name and what runs it."""
    require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {name: pixels[np.newaxis]})[0][0])

    return f"onnxruntime {onnxruntime.__version__}", run


def torchscript_run(path: Path) -> tuple[str, Run]:
    """Load a TorchScript archive that this program has just written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(  # type: ignore[no-untyped-call]
            str(path), map_location="cpu"
        )
    return f"torch.jit {torch.__version__}", _of_torch(module)


def torch_export_run(path: Path) -> tuple[str, Run]:
    """Load an archive of torch.export that this program has just written."""
    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")
        module = torch.export.load(file).module()
    return f"torch.export {torch.__version__}", _of_torch(module)


def _of_torch(module: Any) -> Run:
    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(pixels)[None])[0])

    return run
