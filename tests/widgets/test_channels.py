"""Several layers as the channels of one image, and images whose axes have names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

from data.counting import CountingArray
from napari_unet.widgets.annotate.join_channels import join_channels
from napari_unet.widgets.common.annotation import image_for
from napari_unet.widgets.common.pairs import LayerPair, annotated_image
from napari_unet.widgets.common.session import session_of

from .conftest import Desk, disks, strokes_on

if TYPE_CHECKING:
    from collections.abc import Callable


def counting_layer(name: str) -> tuple[Image, CountingArray]:
    """A layer whose every read is counted, and which cannot be read whole."""
    counting = CountingArray(np.stack([disks(128)] * 20), (1, 64, 64))
    lazy: Any = da.from_array(  # type: ignore[no-untyped-call]
        counting, chunks=counting.chunks, name=False, asarray=True
    )
    layer = Image(lazy, name=name, contrast_limits=(0, 255), axis_labels=("t", "y", "x"))
    return layer, counting


def select(desk: Desk, *layers: Image) -> None:
    desk.viewer.layers.selection = set(layers)


def test_joined_layers_are_the_channels_of_one_image() -> None:
    red, green = (Image(disks(), name=name) for name in ("red", "green"))

    joined = join_channels([red, green])

    assert (joined.name, joined.data.shape) == ("red + green", (2, 96, 96))
    assert joined.axis_labels == ("c", "y", "x")


def test_a_joined_image_lies_where_its_layers_lie() -> None:
    placement = {"scale": (2, 3), "translate": (5, 7), "rotate": 30, "shear": [0.2]}
    layers = [Image(disks(), units=("um", "um"), **placement) for _ in range(2)]

    joined = join_channels(layers)

    np.testing.assert_allclose(
        joined.data_to_world((1, 10, 20))[1:], layers[0].data_to_world((10, 20))
    )
    assert [str(unit) for unit in joined.units[1:]] == ["micrometer"] * 2


@pytest.mark.fault(31)
def test_to_join_lazy_layers_reads_nothing_whole() -> None:
    (red, of_red), (green, _) = counting_layer("red"), counting_layer("green")
    before = of_red.pixels

    joined = join_channels([red, green])

    assert joined.data.shape == (2, 20, 128, 128)
    assert of_red.pixels - before <= 128**2  # napari's thumbnail


@pytest.mark.fault(30)
def test_multiscale_layers_are_joined_level_by_level() -> None:
    levels = [disks(128), disks(128)[::2, ::2]]
    layers = [Image(levels, multiscale=True) for _ in range(2)]

    joined = join_channels(layers)

    assert [level.shape for level in joined.data] == [(2, 128, 128), (2, 64, 64)]


def test_layers_of_different_shapes_cannot_be_joined(desk: Desk) -> None:
    other = desk.viewer.add_image(disks(48))

    select(desk, desk.image, other)

    assert not desk.annotate.join_button.isEnabled()


def test_a_network_of_two_channels_trains_on_a_joined_image(desk: Desk) -> None:
    other = desk.viewer.add_image(255 - disks(), name="other")
    select(desk, desk.image, other)
    desk.click(desk.annotate.join_button)
    desk.click(desk.annotate.new_button)
    assert desk.annotate.target.annotation is not None
    desk.annotate.target.annotation.data = strokes_on(disks())
    desk.train_tiny(5)

    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    model = session_of(desk.viewer).model
    assert model is not None
    assert model.record.network.in_channels == 2


def test_a_snapshot_has_the_names_of_all_axes_and_the_pixel_size(
    make_desk: Callable[..., Desk],
) -> None:
    placement = {"scale": (2, 0.5, 0.5), "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
    desk = make_desk(np.stack([disks()] * 3), **placement)
    desk.click(desk.annotate.new_button)
    assert desk.annotate.target.annotation is not None

    image = annotated_image(desk.viewer, LayerPair(desk.image, desk.annotate.target.annotation))

    assert image.axes == "ZYX"
    assert dict(image.pixel_size) == {"Z": 2.0, "Y": 0.5, "X": 0.5}


def test_the_axes_of_a_plain_layer_are_left_to_be_guessed(painted: tuple[Desk, Labels]) -> None:
    desk, labels = painted

    image = annotated_image(desk.viewer, LayerPair(desk.image, labels))

    assert (image.axes, dict(image.pixel_size)) == (None, {})


@pytest.mark.parametrize("named_first", [True, False], ids=["named first", "named last"])
def test_paint_belongs_to_an_image_of_known_axes_rather_than_to_one_of_a_size(
    desk: Desk, named_first: bool
) -> None:
    cube = np.stack([disks()] * 3)
    labels = np.zeros((3, 96, 96), np.uint16)
    kinds: list[dict[str, object]] = [{"axis_labels": ("t", "y", "x")}, {}]
    images = [
        desk.viewer.add_image(cube, **kind) for kind in (kinds if named_first else kinds[::-1])
    ]

    layer = desk.viewer.add_labels(labels)

    assert image_for(desk.viewer, layer) is images[0 if named_first else 1]


def test_paint_with_an_axis_too_many_does_not_belong_to_an_image_with_channels(desk: Desk) -> None:
    desk.viewer.add_image(np.stack([disks()] * 3), axis_labels=("c", "y", "x"))

    layer = desk.viewer.add_labels(np.zeros((3, 96, 96), np.uint16))

    assert image_for(desk.viewer, layer) is None
