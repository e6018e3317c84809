"""``import napari_unet``: names on first use, and nothing heavy before."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import napari_unet

PUBLIC = [
    "ObjectClassifier",
    "TrainConfig",
    "TrainedModel",
    "UNet",
    "UNetConfig",
    "border_weight_map",
    "classify_objects",
    "denoise",
    "error_map",
    "evaluate",
    "export_model",
    "link",
    "load_classifier",
    "load_model",
    "measure",
    "object_classifier",
    "read_annotations",
    "read_image",
    "read_labels",
    "save_classifier",
    "starting_model",
    "train",
    "write_image",
    "write_objects",
]


def output_of(program: str) -> str:
    """What a program prints in a fresh interpreter."""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_found(name: str) -> None:
    assert getattr(napari_unet, name).__name__ == name


def test_nothing_else_is_public() -> None:
    assert sorted(napari_unet.__all__) == sorted([*PUBLIC, "__version__"])


def test_dir_lists_the_public_names() -> None:
    assert dir(napari_unet) == sorted(napari_unet.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'napari_unet' has no attribute 'colour'"):
        _ = napari_unet.colour


def test_an_unknown_name_cannot_be_imported() -> None:
    with pytest.raises(ImportError, match="colour"):
        from napari_unet import colour  # noqa: F401


def test_the_version_is_that_of_the_distribution() -> None:
    assert napari_unet.__version__ == version("napari-unet-paint")


def test_importing_brings_nothing_heavy() -> None:
    program = (
        "import sys, napari_unet\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'qtpy', 'napari'} & set(sys.modules)))"
    )
    assert output_of(program) == "[]"


@pytest.mark.parametrize(
    "name", ["UNetConfig", "TrainConfig", "border_weight_map", "error_map", "evaluate", "link"]
)
def test_names_that_need_no_torch_do_not_import_it(name: str) -> None:
    program = f"import sys, napari_unet\nnapari_unet.{name}\nprint('torch' in sys.modules)"
    assert output_of(program) == "False"


def test_a_model_is_loaded_without_what_training_and_files_need() -> None:
    program = (
        "import sys, napari_unet\n"
        "napari_unet.load_model\n"
        "print(sorted({'scipy', 'skimage', 'zarr', 'tifffile', 'numba'} & set(sys.modules)))"
    )
    assert output_of(program) == "[]"


def test_a_star_import_brings_all_names() -> None:
    program = "from napari_unet import *\nprint(train.__name__, UNet.__name__)"
    assert output_of(program) == "train UNet"


@pytest.mark.fault(12)
def test_what_an_apple_gpu_lacks_runs_on_the_cpu_and_that_is_said_before_torch_is_imported() -> (
    None
):
    program = (
        "import os, sys, napari_unet\n"
        "print(os.environ['PYTORCH_ENABLE_MPS_FALLBACK'], 'torch' in sys.modules)"
    )
    assert output_of(f"import os; os.environ.pop('PYTORCH_ENABLE_MPS_FALLBACK', 0)\n{program}") == (
        "1 False"
    )


@pytest.mark.fault(12)
def test_who_has_decided_otherwise_is_obeyed() -> None:
    program = "import os, napari_unet\nprint(os.environ['PYTORCH_ENABLE_MPS_FALLBACK'])"
    assert (
        output_of(f"import os; os.environ['PYTORCH_ENABLE_MPS_FALLBACK'] = '0'\n{program}") == "0"
    )
