"""Draw a network of the family as the U that it is called after, from its configuration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from drawing import BLUE, GREEN, GREY, ORANGE, PALE_BLUE, PALE_ORANGE, Drawing

if TYPE_CHECKING:
    from napari_unet.model.config import UNetConfig

_STEP, _LEVEL, _GAP = 34, 52, 46  # between maps, between levels along x, between rows
_TALLEST = 130


class Level(NamedTuple):
    """Sizes in pixels of the maps of one level, and how many there are of each.

    Parameters
    ----------
    down, up : tuple of int
        Edge lengths on the way down and up; the bottom level has no way up.
    down_channels, up_channels : tuple of int
        Channels of the same.
    """

    down: tuple[int, ...]
    up: tuple[int, ...]
    down_channels: tuple[int, ...]
    up_channels: tuple[int, ...]


def levels_of(config: UNetConfig, size: int) -> list[Level]:
    """Return the sizes of all maps for an input of `size` pixels, from full resolution down."""
    lost = 2 if config.padding == "valid" else 0
    channels = config.level_channels
    down = []
    for _ in range(config.depth + 1):
        down.append((size, size - lost, size - 2 * lost))
        size = down[-1][-1] // 2
    size, ups = down[-1][-1], []
    for _ in range(config.depth):
        ups.append((2 * size, 2 * size - lost, 2 * size - 2 * lost))
        size = ups[-1][-1]
    levels = []
    for level, sizes in enumerate(down):
        c_in = config.in_channels if level == 0 else channels[level - 1]
        is_bottom = level == config.depth
        levels.append(
            Level(
                sizes,
                () if is_bottom else ups[config.depth - 1 - level],
                (c_in, channels[level], channels[level]),
                () if is_bottom else (2 * channels[level], channels[level], channels[level]),
            )
        )
    return levels


def network_figure(config: UNetConfig, size: int, title: str) -> str:
    """Return the figure of a network as SVG text.

    Parameters
    ----------
    config : UNetConfig
        The network, 2D.
    size : int
        Edge length of the input in pixels.
    title : str
        For those who hear the figure.
    """
    levels = levels_of(config, size)
    heights = [max(8.0, _TALLEST * level.down[0] / size) for level in levels]
    width = 2 * (config.depth * _LEVEL + 3 * _STEP) + 150
    drawing = Drawing(width, sum(heights) + len(levels) * _GAP + 80, title)
    top = 40.0
    last_down = last_up = (0.0, 0.0)
    for number, (level, height) in enumerate(zip(levels, heights, strict=True)):
        left = 30.0 + number * _LEVEL
        if number:
            drawing.arrow(last_down, (left + 5, top - 16), ORANGE)
        _draw_maps(drawing, left, top, height, level.down, level.down_channels)
        end_of_down = left + 2 * _STEP + 12
        if level.up:
            right = width - 40.0 - number * _LEVEL - 3 * _STEP
            _draw_maps(drawing, right, top, height, level.up, level.up_channels)
            drawing.box(right - 8, top, 8, height, PALE_ORANGE, GREY)
            drawing.arrow((end_of_down + 8, top + height / 2), (right - 12, top + height / 2), GREY)
            if number:
                drawing.arrow((right + 2 * _STEP + 6, top - 16), last_up, GREEN)
            last_up = (right + 4, top + height + 22)
        elif number:
            drawing.arrow((end_of_down + 6, top - 16), last_up, GREEN)
        last_down = (left + 2 * _STEP + 6, top + height + 22)
        top += height + _GAP
    _draw_output(drawing, config, levels[0], width, heights[0])
    _draw_key(drawing, config, top + 8)
    return str(drawing)


def _draw_maps(
    drawing: Drawing,
    x: float,
    top: float,
    height: float,
    sizes: tuple[int, ...],
    channels: tuple[int, ...],
) -> None:
    for number, (size, count) in enumerate(zip(sizes, channels, strict=True)):
        left = x + number * _STEP
        shown = height * size / max(sizes)
        breadth = 4 + math.log2(count) * 0.8
        drawing.box(left, top + (height - shown) / 2, breadth, shown, PALE_BLUE, BLUE)
        drawing.words(left + 5, top - 5, str(count), 10)
        drawing.words(left + 6, top + height + 13, str(size), 10)
        if number:
            middle = top + height / 2
            drawing.arrow((left - _STEP + breadth + 2, middle), (left - 3, middle), BLUE)


def _draw_output(
    drawing: Drawing, config: UNetConfig, level: Level, width: float, height: float
) -> None:
    left = width - 34.0
    middle = 40 + height / 2
    drawing.arrow((left - 32, middle), (left - 3, middle), GREY)
    drawing.box(left, 40, 6, height, "#ffffff", BLUE)
    drawing.words(left + 3, 35, str(config.out_channels), 10)
    drawing.words(left + 3, 40 + height + 13, str(level.up[-1]), 10)


def _draw_key(drawing: Drawing, config: UNetConfig, y: float) -> None:
    kept = "3x3, unpadded" if config.padding == "valid" else "3x3, same size"
    after = "ReLU" if config.normalization == "none" else "BatchNorm, ReLU"
    entries = (
        (BLUE, f"convolution {kept}, {after}"),
        (ORANGE, "2x2 max pooling"),
        (GREEN, "2x2 up-convolution"),
        (GREY, "copied and joined; last: 1x1"),
    )
    for number, (colour, text) in enumerate(entries):
        x, line = 30 + 330 * (number % 2), y + 20 * (number // 2)
        drawing.arrow((x, line), (x + 24, line), colour)
        drawing.words(x + 32, line + 4, text, 11, "start")
