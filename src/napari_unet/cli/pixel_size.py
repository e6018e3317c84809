"""The option ``--pixel-size``, of training and of prediction."""

from __future__ import annotations

from napari_unet.errors import ConfigError


def pixel_size_of(sizes: list[float] | None) -> dict[str, float]:
    """Read ``--pixel-size``: along Y and X, or along Z, Y and X; one number is for both.

    Returns
    -------
    dict of str to float
        Micrometres by axis letter; empty where the option was not given.

    Raises
    ------
    ConfigError
        There are more than three, or one is not positive.
    """
    if not sizes:
        return {}
    if len(sizes) > 3 or not all(size > 0 for size in sizes):
        raise ConfigError(
            f"--pixel-size is {' '.join(f'{size:g}' for size in sizes)}; give one to three "
            "positive numbers of micrometres: of a pixel, along Y X, or along Z Y X."
        )
    in_order = sizes * 2 if len(sizes) == 1 else sizes
    return dict(zip("ZYX"[3 - len(in_order) :], in_order, strict=True))
