"""Keep the run card of a prediction with the layer that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from qtpy.QtCore import QObject

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_unet.widgets.task import BackgroundTask, Outcome

CARD_KEY = "napari-unet-paint run card"


class ShowsResult(Protocol):
    """What writes a prediction into a layer."""

    @property
    def layer(self) -> Layer | None:
        """The layer."""


class CardKeeper(QObject):
    """Puts the card that a prediction tells into the metadata of its layer, at the end.

    The layer keeps the card as it is: frozen.

    Parameters
    ----------
    task : BackgroundTask
        Predicts.
    result : ShowsResult
        Follows the task too, and was connected first.
    """

    def __init__(self, task: BackgroundTask, result: ShowsResult) -> None:
        super().__init__(task)
        self._task, self._result = task, result
        self._card: Any = None
        task.happened.connect(self._on_event)
        task.ended.connect(self._on_ended)

    def _on_event(self, event: object) -> None:
        from napari_unet.runs.card import PredictionCard

        if isinstance(event, PredictionCard):
            self._card = event

    def _on_ended(self, outcome: Outcome) -> None:
        self._task.happened.disconnect(self._on_event)
        self._task.ended.disconnect(self._on_ended)
        if self._card is not None and self._result.layer is not None:
            self._result.layer.metadata[CARD_KEY] = self._card
        self.deleteLater()
