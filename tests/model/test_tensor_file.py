from __future__ import annotations

import errno
import os
import pickle
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from napari_unet.errors import FileProblemError, ModelFileError
from napari_unet.model.trained import hash_of_weights, read_tensors, write_tensors

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "n": torch.tensor(7)}
WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros((), dtype=torch.bfloat16)}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "mödel file.safetensors"
    write_tensors(path, TENSORS, {"step": 3})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_tensors(path)
    return str(caught.value)


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


def test_a_file_cut_at_any_length_is_refused_in_one_line(good: Path) -> None:
    whole = good.read_bytes()
    for kept in range(len(whole)):
        good.write_bytes(whole[:kept])
        assert "\n" not in refusal(good)


@pytest.mark.fault(36)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_change_of_its_bytes_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("files") / "x.safetensors"
    write_tensors(path, TENSORS, {"step": 3})
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert "\n" not in refusal(path)


@given(noise=st.binary(max_size=200))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "x.safetensors"
    path.write_bytes(noise)
    refusal(path)


def test_bytes_after_the_end_are_refused(good: Path) -> None:
    good.write_bytes(good.read_bytes() + b"more")
    assert "not a complete model file" in refusal(good)


def test_a_file_of_another_file_in_place_of_its_weights_is_refused(good: Path) -> None:
    text = '{"step": 3}'
    metadata = {"napari_unet": text, "sha256": hash_of_weights(TENSORS, text)}
    other = {name: tensor + 1 for name, tensor in TENSORS.items()}
    good.write_bytes(save(other, metadata=metadata))
    assert "checksum differs" in refusal(good)


def forge(path: Path, text: str) -> None:
    """Write a file whose checksum is right, whatever its text."""
    metadata = {"napari_unet": text, "sha256": hash_of_weights(TENSORS, text)}
    path.write_bytes(save(TENSORS, metadata=metadata))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("{", id="half an object"),
        pytest.param("hello", id="a word"),
        pytest.param('{"a": ' + "9" * 5000 + "}", id="a number of 5000 digits"),
        pytest.param("[" * 100_000, id="endless brackets"),
        pytest.param('{"a":' * 50_000 + "1" + "}" * 50_000, id="endless nesting"),
        pytest.param("[]", id="a list"),
        pytest.param("5", id="a number"),
        pytest.param("null", id="null"),
    ],
)
def test_metadata_that_are_no_json_table_are_refused_in_one_line(good: Path, text: str) -> None:
    forge(good, text)
    message = refusal(good)
    assert "metadata" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"{}", id="empty"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"__metadata__":{"napari_unet":1}}', id="metadata that are no text"),
        pytest.param(b'{"__metadata__":{"napari_unet":"\xff"}}', id="no UTF-8"),
        pytest.param(b'{"__metadata__":{"napari_unet":"{}"}}', id="without a checksum"),
        pytest.param(
            b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}', id="a negative size"
        ),
        pytest.param(
            b'{"w":{"dtype":"F32","shape":[999999999],"data_offsets":[0,4]}}', id="a false size"
        ),
        pytest.param(
            b'{"w":{"dtype":"OBJECT","shape":[0],"data_offsets":[0,0]}}', id="an unknown type"
        ),
    ],
)
def test_a_forged_header_is_refused_in_one_line(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert "\n" not in refusal(path)


def test_a_name_that_no_file_system_takes_is_refused(tmp_path: Path) -> None:
    assert "\n" not in refusal(tmp_path / "none" / "x.safetensors")
    assert "There is no model file" in refusal(Path("a\0b"))


def test_a_name_of_300_letters_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path / ("x" * 300))


def test_tensors_do_not_change_with_the_file_they_came_from(good: Path) -> None:
    large = {"w": torch.ones(300_000)}
    write_tensors(good, large, {})
    tensors, _ = read_tensors(good)
    with good.open("r+b") as file:
        file.seek(-400_000, os.SEEK_END)
        file.write(bytes(400_000))
    assert torch.equal(tensors["w"], large["w"])


def test_what_was_read_can_be_saved_to_where_it_came_from(good: Path) -> None:
    tensors, content = read_tensors(good)
    write_tensors(good, tensors, {**content, "step": 4})
    again, content = read_tensors(good)
    assert content == {"step": 4}
    assert torch.equal(again["a.weight"], TENSORS["a.weight"])


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(torch.arange(12.0).reshape(3, 4).T, id="transposed"),
        pytest.param(torch.arange(12.0)[::2], id="every second"),
        pytest.param(torch.rand(1, 2, 4, 4).to(memory_format=torch.channels_last), id="channels"),
        pytest.param(torch.ones(3, requires_grad=True), id="with gradient"),
        pytest.param(torch.tensor([float("nan"), float("inf"), -0.0]), id="not finite"),
    ],
)
def test_a_tensor_of_any_layout_comes_back_as_its_values(
    tmp_path: Path, tensor: torch.Tensor
) -> None:
    write_tensors(tmp_path / "x.safetensors", {"t": tensor}, {})
    found = read_tensors(tmp_path / "x.safetensors")[0]["t"]
    torch.testing.assert_close(found, tensor.detach(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["mit Leerzeichen.st", "zażółć 細胞.st", "no suffix", ".hidden"])
def test_any_file_name_can_be_written_and_read(tmp_path: Path, name: str) -> None:
    write_tensors(tmp_path / name, TENSORS, {"name": name})
    assert read_tensors(tmp_path / name)[1] == {"name": name}
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_has_the_permissions_of_ordinary_files(good: Path) -> None:
    ordinary = good.with_name("ordinary")
    ordinary.touch()
    assert stat.S_IMODE(good.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    good: Path, monkeypatch: pytest.MonkeyPatch, moment: str, error: type[BaseException]
) -> None:
    before = good.read_bytes()

    def interrupt(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(os, moment, interrupt)
    with pytest.raises(error):
        write_tensors(good, TENSORS, {})
    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]


def test_a_disk_that_fills_while_writing_leaves_the_old_file_and_nothing_else(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = good.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileProblemError, match="The previous file was kept"):
        write_tensors(good, TENSORS, {})
    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(FileProblemError, match="Cannot write"):
        write_tensors(tmp_path / "x", TENSORS, {})
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_the_hash_stays_as_in_files_that_were_saved() -> None:
    expected = "15bcc1d600a4e4eea3cf6ae9048ec1de41e94d5e8e824290d2b7f511e9b4c4cd"
    assert hash_of_weights(WEIGHTS) == expected


def test_the_order_of_names_does_not_matter() -> None:
    assert hash_of_weights(dict(reversed(WEIGHTS.items()))) == hash_of_weights(WEIGHTS)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(WEIGHTS["a"] + 1, id="value"),
        pytest.param(WEIGHTS["a"].reshape(3, 2), id="shape"),
        pytest.param(WEIGHTS["a"].view(torch.int32), id="type"),
    ],
)
def test_other_weights_have_another_hash(changed: torch.Tensor) -> None:
    assert hash_of_weights({**WEIGHTS, "a": changed}) != hash_of_weights(WEIGHTS)


def test_another_text_about_them_is_another_hash() -> None:
    assert hash_of_weights(WEIGHTS, "x") != hash_of_weights(WEIGHTS)
