"""One hash tells weights apart, in model files, run cards and results that go on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_unet.model.tensor_file import hash_of_weights

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros((), dtype=torch.bfloat16)}


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
def test_other_weights_have_another_hash(changed: Tensor) -> None:
    assert hash_of_weights({**WEIGHTS, "a": changed}) != hash_of_weights(WEIGHTS)


def test_another_text_about_them_is_another_hash() -> None:
    assert hash_of_weights(WEIGHTS, "x") != hash_of_weights(WEIGHTS)
