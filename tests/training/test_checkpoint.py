"""The training state: what is written is what is read, and damage is named."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from napari_unet.errors import FileProblemError, ModelFileError
from napari_unet.model.tensor_file import read_tensors, write_tensors
from napari_unet.training.checkpoint import load_state, save_state, state_path
from napari_unet.training.state import TrainingState

if TYPE_CHECKING:
    from pathlib import Path


def a_state(*, validated: bool = True) -> TrainingState:
    weights = {"a.weight": torch.randn(2, 3), "a.count": torch.tensor(4)}
    return TrainingState(
        step=17,
        seconds=2.5,
        last=weights,
        averaged={"a.weight": torch.ones(2, 3), "a.count": torch.tensor(4)},
        best={"a.weight": torch.zeros(2, 3)} if validated else {},
        optimiser={"0.step": torch.tensor(17.0), "0.exp_avg": torch.randn(2, 3)},
        best_value=0.75 if validated else -math.inf,
        history=({"step": 10, "loss": 0.5, "iou": 0.75, "object_f1": None},) if validated else (),
    )


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("validated", [True, False], ids=["validated", "never validated"])
def test_a_state_comes_back_as_it_was_written(tmp_path: Path, validated: bool) -> None:
    written = a_state(validated=validated)
    save_state(written, tmp_path / "x.safetensors")
    read = load_state(tmp_path / "x.safetensors")
    assert equal(read.last, written.last)
    assert equal(read.averaged, written.averaged)
    assert equal(read.best, written.best)
    assert equal(read.optimiser, written.optimiser)
    assert (read.step, read.seconds, read.best_value, read.history) == (
        written.step,
        written.seconds,
        written.best_value,
        written.history,
    )


def test_a_state_lies_beside_its_model(tmp_path: Path) -> None:
    assert state_path(tmp_path / "cells.v2.safetensors") == tmp_path / "cells.v2.state.safetensors"


def test_a_missing_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"There is no model file .*x\.state\.safetensors"):
        load_state(tmp_path / "x.state.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 100, 400])
def test_a_truncated_state_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.safetensors"
    save_state(a_state(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelFileError, match=r"x\.safetensors is not a complete model file"):
        load_state(path)


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_state(a_state(), path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelFileError, match="checksum differs"):
        load_state(path)


def test_a_file_of_ours_that_is_no_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.zeros(1)}, {"format_version": 1})
    with pytest.raises(ModelFileError, match="is not a training state"):
        load_state(path)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="nowhere"):
        save_state(a_state(), tmp_path / "nowhere" / "x.safetensors")


@pytest.mark.fault(13)
@pytest.mark.parametrize("group", ["last", "averaged", "best"])
def test_a_state_that_is_not_finite_leaves_the_former_one(tmp_path: Path, group: str) -> None:
    path = tmp_path / "x.safetensors"
    save_state(a_state(), path)
    before = path.read_bytes()
    changes: dict[str, Any] = {group: {"a.weight": torch.tensor([1.0, math.nan])}}
    bad = replace(a_state(), **changes)
    with pytest.raises(FileProblemError, match=rf"\({group}\.a\.weight\) are not finite"):
        save_state(bad, path)
    assert path.read_bytes() == before


def test_a_state_from_before_float32_was_noted_is_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_state(replace(a_state(), in_float32=True), path)
    assert load_state(path).in_float32
    tensors, content = read_tensors(path)
    del content["in_float32"]
    write_tensors(path, tensors, content)
    assert not load_state(path).in_float32
