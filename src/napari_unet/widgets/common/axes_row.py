"""What the axes of an image are: shown, guessed, and chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.common.layers import FollowedLayer
from napari_unet.widgets.common.placement import name_axes, named_axes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

_ALTERNATIVES = {
    2: ("YX",),
    3: ("ZYX", "TYX", "CYX", "YXC"),
    4: ("TZYX", "TCYX", "ZCYX", "CZYX", "CTYX", "ZYXC", "TYXC"),
    5: ("TZCYX", "TCZYX", "CTZYX", "TZYXC"),
}
_MEANING = {"T": "time", "C": "channels", "Z": "slices"}


class AxesRow(QComboBox):
    """Shows the axes of an image layer, and writes what is chosen into its axis labels.

    Where the axis labels do not name them all, it shows what `guess` returns, and that it is a
    guess; `guess` may raise NapariUNetError.
    """

    axes_changed: Final = Signal()

    def __init__(self, guess: Callable[[Image], str]) -> None:
        super().__init__()
        self._guess = guess
        self._image: Image | None = None
        self._followed = FollowedLayer(self, ("axis_labels",), self.show_axes)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.activated.connect(self._choose)
        self.show_axes()

    @property
    def axes(self) -> str | None:
        """The axes of the image's pixels: named, else guessed; None where there is no guess."""
        if self._image is None:
            return None
        return named_axes_of(self._image) or self._guessed(self._image)

    @property
    def known(self) -> bool:
        """Whether the axis labels of the image name all axes, so that nothing is guessed."""
        return self._image is not None and named_axes_of(self._image) is not None

    def show_image(self, image: Image | None) -> None:
        """Show the axes of an image, and follow them."""
        self._image = image
        self._followed.follow(image)
        self.show_axes()

    def show_axes(self) -> None:
        """Show the axes anew, for example when another model guesses otherwise."""
        image = self._image
        self.blockSignals(True)
        self.clear()
        if image is not None:
            self._list(image)
        self.blockSignals(False)
        self.setEnabled(self.count() > 1)
        self._explain()
        self.axes_changed.emit()

    def _list(self, image: Image) -> None:
        named = named_axes_of(image)
        choices = alternatives(image)
        if named is None:
            guessed = self._guessed(image)
            self.addItem(self._unsure(guessed), None)
        elif named not in choices:
            choices = (named, *choices)
        for axes in choices:
            self.addItem(self._said(axes), axes)
        self.setCurrentIndex(max(0, self.findData(named)))

    def _said(self, axes: str) -> str:
        return axes

    def _unsure(self, guessed: str | None) -> str:
        return f"{guessed} (guessed)" if guessed else "not known"

    def _guessed(self, image: Image) -> str | None:
        try:
            return self._guess(image)
        except NapariUNetError:
            return None

    def _explain(self) -> None:
        axes = self.axes or ""
        meaning = ", ".join(f"{letter} {_MEANING[letter]}" for letter in axes if letter in _MEANING)
        says = f"{axes}: {meaning}. " if meaning else ""
        self.setToolTip(
            f"What the axes of the image are. {says}T is time, C channels, Z slices. What you "
            "choose becomes the layer's axis labels."
        )

    def _choose(self, index: int) -> None:
        axes = self.itemData(index)
        if axes is not None and self._image is not None:
            name_axes(self._image, axes)  # its event shows them


class AxesChip(AxesRow):
    """The same in words, where an image has more than two axes, and as a question if unsure."""

    def show_axes(self) -> None:
        """Show what the axes are; nothing of a plane."""
        super().show_axes()
        self.setVisible(self.needed and self.parent() is not None)

    @property
    def needed(self) -> bool:
        """Whether there is an axis beside those of a plane."""
        return self._image is not None and self._image.ndim > 2

    def _said(self, axes: str) -> str:
        others = [_CHIP[letter] for letter in axes if letter in _CHIP]
        if axes.endswith("C") and self._image is not None:
            others[-1:] = [] if self._image.rgb else ["Channels (last)"]
        return " + ".join(others) or axes

    def _unsure(self, guessed: str | None) -> str:
        return f"{self._said(guessed)}? Choose" if guessed else "Choose"


_CHIP = {"T": "Time", "C": "Channels", "Z": "Depth"}


def alternatives(image: Image) -> tuple[str, ...]:
    """Return what the axes of a layer can be; those of a colour image end in its colours."""
    if not image.rgb:
        return _ALTERNATIVES.get(image.ndim, ())
    choices = _ALTERNATIVES.get(image.ndim + 1, ())
    return tuple(axes for axes in choices if axes.endswith("YXC"))
