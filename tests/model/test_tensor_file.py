from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from napari_unet.errors import FileProblemError, ModelFileError
from napari_unet.model.tensor_file import read_tensors, write_tensors

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "n": torch.tensor(7)}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "mödel file.safetensors"
    write_tensors(path, TENSORS, {"step": 3})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_tensors(path)
    return str(caught.value)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]),
    content=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
)
def test_tensors_and_content_come_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory,
    shape: list[int],
    dtype: torch.dtype,
    content: dict[str, Any],
) -> None:
    path = tmp_path_factory.mktemp("files") / "x.safetensors"
    tensor = (torch.rand(shape) * 100).to(dtype)

    write_tensors(path, {"t": tensor}, content)
    tensors, read = read_tensors(path)

    assert torch.equal(tensors["t"], tensor)
    assert tensors["t"].dtype == dtype
    assert read == content


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, -1], ids=lambda n: f"{n} bytes")
def test_a_truncated_file_is_refused(good: Path, kept: int) -> None:
    good.write_bytes(good.read_bytes()[:kept])
    assert "not a complete model file" in refusal(good)


@pytest.mark.parametrize("position", range(0, 400, 37))
def test_a_changed_byte_is_refused(good: Path, position: int) -> None:
    data = bytearray(good.read_bytes())
    data[position % len(data)] ^= 1
    good.write_bytes(data)
    assert "\n" not in refusal(good)


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_text("hello, I am no model" * 10)
    assert "not a complete model file" in refusal(tmp_path / "x.safetensors")


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(canary),)

    (tmp_path / "x.pt").write_bytes(pickle.dumps(Evil()))

    refusal(tmp_path / "x.pt")
    assert not canary.exists()


def test_a_header_of_absurd_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}")
    assert "header claims" in refusal(tmp_path / "x.safetensors")


def test_a_file_of_another_program_is_refused_as_such(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "x.safetensors")
    assert "not written by napari-unet-paint" in refusal(tmp_path / "x.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in refusal(tmp_path / "none")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def fail_to_replace(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def replace(source: Any, target: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", replace)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = good.read_bytes()
    fail_to_replace(monkeypatch, errno.EIO)

    with pytest.raises(FileProblemError, match="Cannot write"):
        write_tensors(good, TENSORS, {})

    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]


def test_a_full_disk_is_told_with_what_is_needed(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_replace(monkeypatch, errno.ENOSPC)
    with pytest.raises(FileProblemError, match=r"Disk full: .* needs .* MB in .* are free"):
        write_tensors(good, TENSORS, {})


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="No such file or directory"):
        write_tensors(tmp_path / "none" / "x.safetensors", TENSORS, {})
