from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from napari_unet.data.border_kernel import compiled


def double(values: Any) -> None:
    for here in range(len(values)):
        values[here] *= 2


def test_a_compiled_function_does_what_it_says() -> None:
    values = np.arange(3, dtype=np.int32)
    compiled("void(i4[::1])")(double)(values)
    assert values.tolist() == [0, 2, 4]


def test_arrays_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match="No matching definition"):
        compiled("void(i4[::1])")(double)(np.arange(3.0))


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RuntimeError("cannot cache function: no locator available"), id="no folder"),
        pytest.param(OSError(28, "No space left on device"), id="full disk"),
    ],
)
def test_what_cannot_be_kept_is_compiled_all_the_same(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_folder(*arguments: Any, cache: bool = False, **settings: Any) -> Any:
        if cache:
            raise error
        return njit(*arguments, **settings)

    monkeypatch.setattr("napari_unet.data.border_kernel.njit", without_folder)
    values = np.arange(3, dtype=np.int32)
    compiled("void(i4[::1])")(double)(values)
    assert values.tolist() == [0, 2, 4]
