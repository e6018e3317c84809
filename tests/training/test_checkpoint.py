"""The training state: what is written is what is read, and damage is named."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save

from napari_unet.errors import FileProblemError, ModelFileError
from napari_unet.model.trained import hash_of_weights, load_network, read_tensors, write_tensors
from napari_unet.tasks import ClassTable
from napari_unet.training.checkpoint import load_state, save_state, state_path
from napari_unet.training.held_back import Block
from napari_unet.training.state import TrainingState

if TYPE_CHECKING:
    from pathlib import Path


VALIDATION: dict[str, Any] = {
    "step": 10, "best": True, "loss": 0.5, "iou": 0.75, "object_f1": None, "threshold": 0.5
}  # fmt: skip


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
        history=(VALIDATION,) if validated else (),
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


def test_classes_and_what_was_held_back_come_back_too(tmp_path: Path) -> None:
    written = replace(
        a_state(),
        classes=ClassTable("classes", "background", (0, 3, 7)),
        held_back=(Block(0, (2,), ((-3, 16), (0, 16))), Block(1, (), ((0, 8), (8, 16)))),
    )
    save_state(written, tmp_path / "x.safetensors")
    read = load_state(tmp_path / "x.safetensors")
    assert (read.classes, read.held_back) == (written.classes, written.held_back)


def test_best_weights_whose_score_new_paint_made_void_come_back_without_one(
    tmp_path: Path,
) -> None:
    written = replace(a_state(), best_value=-math.inf)
    save_state(written, tmp_path / "s.safetensors")
    read = load_state(tmp_path / "s.safetensors")
    assert read.best_value == -math.inf
    assert equal(read.best, written.best)


def test_a_state_that_is_opened_as_a_model_names_its_model(tmp_path: Path) -> None:
    save_state(a_state(), tmp_path / "x.state.safetensors")
    with pytest.raises(ModelFileError, match=r"Choose its model, .*x\.safetensors"):
        load_network(tmp_path / "x.state.safetensors")


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
def test_a_state_that_is_not_finite_leaves_the_previous_one(tmp_path: Path, group: str) -> None:
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


def forge(path: Path, **changes: Any) -> None:
    """Write a state of ours with other content and the right checksum, whatever its numbers."""
    save_state(a_state(), path)
    tensors, content = read_tensors(path)
    text = json.dumps({**content, **changes})
    metadata = {"napari_unet": text, "sha256": hash_of_weights(tensors, text)}
    path.write_bytes(save(tensors, metadata=metadata))


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"seconds": 1e300}, "seconds: Input should be less", id="seconds huge"),
        pytest.param({"seconds": -1e9}, "seconds: Input should be greater", id="seconds negative"),
        pytest.param({"seconds": "2.5"}, "seconds: Input should be a valid", id="seconds text"),
        pytest.param({"step": "20"}, "step: Input should be a valid integer", id="step text"),
        pytest.param({"step": 2**60}, "step: Input should be less", id="step huge"),
        pytest.param({"step": True}, "step: Input should be a valid integer", id="step yes"),
        pytest.param({"in_float32": "no"}, "in_float32: Input should be a valid bo", id="no"),
        pytest.param({"whatever": {"a": 1}}, "whatever: Extra inputs are not", id="unknown"),
        pytest.param({"best_value": 5.0}, "best_value: Input should be less", id="best value"),
        pytest.param({"extra_steps": 2**52}, "extra_steps: Input should be less", id="extra"),
        pytest.param({"cycle_start": 18}, "cycle_start 18 lies after step 17", id="cycle"),
        pytest.param({"history": [{"step": 1}]}, r"history\.0\.best: Field required", id="bare"),
        pytest.param(
            {"history": [{**VALIDATION, "step": "abc"}]},
            r"history\.0\.step: Input",
            id="entry",
        ),
        pytest.param(
            {"history": [{**VALIDATION, "iou": 1e300}]}, r"history\.0\.iou: Input", id="entry huge"
        ),
        pytest.param(
            {"history": [{**VALIDATION, "more": "x"}]}, r"history\.0\.more", id="entry unknown"
        ),
        pytest.param(
            {"held_back": [{"x": 1}]}, r"held_back\.0\.(image: Field|x: Extra)", id="place"
        ),
        pytest.param({"classes": {"kind": "all", "unpainted": "x"}}, "classes", id="classes"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_before_it_trains(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "m.state.safetensors"
    forge(path, **changes)
    with pytest.raises(ModelFileError, match=r"m\.state\.safetensors is not a training") as raised:
        load_state(path)
    assert re.search(reason, str(raised.value))
    assert len(str(raised.value)) < 400


@pytest.mark.fault(39)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf], ids=repr)
@pytest.mark.parametrize(
    "changes",
    [lambda n: {"seconds": n}, lambda n: {"history": [{**VALIDATION, "loss": n}]}],
    ids=["seconds", "history"],
)
def test_a_state_of_no_numbers_is_refused(tmp_path: Path, changes: Any, number: float) -> None:
    path = tmp_path / "m.state.safetensors"
    forge(path, **changes(number))
    with pytest.raises(ModelFileError, match="unreadable metadata: Out of range float values"):
        load_state(path)


@pytest.mark.fault(13)
@pytest.mark.parametrize("seconds", [math.nan, math.inf], ids=repr)
def test_a_number_that_is_not_finite_leaves_the_previous_state(
    tmp_path: Path, seconds: float
) -> None:
    path = tmp_path / "x.safetensors"
    save_state(a_state(), path)
    before = path.read_bytes()
    with pytest.raises(FileProblemError, match=r"x\.safetensors was not written, what was there"):
        save_state(replace(a_state(), seconds=seconds), path)
    assert path.read_bytes() == before


def test_a_state_of_the_first_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_state(a_state(), path)
    tensors, content = read_tensors(path)
    previous = {key: content[key] for key in ("step", "seconds", "best_value", "history")}
    write_tensors(path, tensors, previous)
    read = load_state(path)
    assert (read.step, read.classes, read.held_back, read.binning) == (17, None, (), 1)
    assert (read.cycle_start, read.extra_steps, read.threshold) == (0, 0, 0.5)
