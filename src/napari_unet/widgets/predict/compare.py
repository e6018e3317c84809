"""Compare a prediction with the truth: scores, and a layer that colours what is wrong."""

from __future__ import annotations

import html
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_unet.data.labels import LabelKind
from napari_unet.evaluation.scores import EvaluateConfig
from napari_unet.settings import declared
from napari_unet.tasks import task_of
from napari_unet.tasks.objects import OBJECTS
from napari_unet.widgets.common.annotation import annotation_in, was_painted_here
from napari_unet.widgets.common.controls import Note, add_row, button, form_layout, header_of, stack
from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    LayerComboBox,
    labels_of,
    placement_from_labels,
    plain_layers,
)
from napari_unet.widgets.common.placement import lies_over
from napari_unet.widgets.common.result_layer import active_labels, newest_prediction, predicted_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.settings_form import editor_of
from napari_unet.widgets.common.task import Failed, Outcome, task_named

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.data.labels import Kind
    from napari_unet.evaluation.objects import ErrorValue

    Places = tuple[tuple[tuple[int, ...], Region], ...]

_TASK = "Comparing with the truth"
_SETTINGS = declared(EvaluateConfig)
_ERRORS = "errors"  # the metadata of our layers of errors
_OPACITY = 0.9  # colours of labels below would make others of those in the legend


class ComparePanel(QWidget):
    """Scores the selected prediction, or the newest one, against a labels layer."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session_of(viewer)
        self._compared: Labels | None = None
        self._truth: Labels | None = None
        self.task: Final = task_named(self._session, _TASK)
        self.truth_box: LayerComboBox[Labels] = LayerComboBox(viewer, Labels)
        # of overlapping classes each has a layer, which is compared as classes are
        as_predicted = replace(
            _SETTINGS["kind"],
            default=None,
            unset="as predicted, else objects",
            choices=get_args(LabelKind),
        )
        self.kind_editor: Final = editor_of(as_predicted)
        self.unpainted_editor: Final = editor_of(_SETTINGS["unpainted"])
        self.compare_button: Final = button(
            "Compare",
            "Score the prediction, and colour what is missed, false, merged and split in a layer "
            "of its own.",
            self.compare,
        )
        self.text: Final = Note()
        self.legend: Final = Note()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.table: Final = ScoreTable()
        self._lay_out()
        self.truth_box.layer_changed.connect(self._follow_truth)
        self.task.ended.connect(self._on_ended)
        viewer.layers.events.removed.connect(self._forget_removed)
        self._follow_truth()

    def _lay_out(self) -> None:
        form = form_layout()
        add_row(
            form,
            "Correct labels",
            self.truth_box,
            "The labels layer to compare the prediction with.",
        )
        for name, editor in (("kind", self.kind_editor), ("unpainted", self.unpainted_editor)):
            add_row(form, _SETTINGS[name].label, editor.widget)
        stack(self, form, self.compare_button, self.text, self.table, self.legend)

    @property
    def prediction(self) -> Labels | None:
        """What is compared: the selected prediction, the newest, or any other selected labels."""
        active = active_labels(self._viewer)
        if active is not None and predicted_of(active) is not None:
            return active
        newest = newest_prediction(self._viewer)
        if newest is not None or active is None:
            return newest
        usable = active is not self.truth_box.layer and METADATA_KEY not in active.metadata
        return active if usable else None

    def compare(self) -> None:
        """Compare in the background; scores and layer follow."""
        prediction, truth = self.prediction, self.truth_box.layer
        problem = self._problem(prediction, truth)
        if problem or prediction is None or truth is None:
            self._complain(problem)
            return
        predicted = predicted_of(prediction)
        labels = _as_it_is_now(labels_of(prediction))
        as_predicted: Kind = task_of(predicted.kind).kind if predicted else OBJECTS.kind
        work = partial(
            compare_labels,
            labels,
            _as_it_is_now(labels_of(truth)),
            predicted.ndim if predicted else min(2, labels.ndim),
            EvaluateConfig(self.kind_editor.read() or as_predicted, self.unpainted_editor.read()),
            predicted.places if predicted else (),
        )
        if self.task.start(work):
            self._compared, self._truth = prediction, truth
            self.text.setText(f"Comparing {prediction.name} with {truth.name}…")
        self.compare_button.setEnabled(not self.task.running)

    def _problem(self, prediction: Labels | None, truth: Labels | None) -> str:
        """Return what keeps two layers from being compared, or nothing."""
        if prediction is None:
            return "There is no prediction to compare yet: click Everything above."
        if truth is None:
            return "There is no truth to compare with: open a mask, or paint some."
        predicted = predicted_of(prediction)
        if predicted is not None and predicted.in_progress:
            return f"{prediction.name} is still being predicted: compare it when it is done."
        sizes = labels_of(prediction).shape, labels_of(truth).shape
        if sizes[0] != sizes[1]:
            return (
                f"{prediction.name} has shape {sizes[0]}, {truth.name} {sizes[1]}: choose the "
                "truth of the same image."
            )
        if not lies_over(truth, prediction, range(truth.ndim)):
            return (
                f"{truth.name} lies elsewhere than {prediction.name}, or its pixels have another "
                "size: choose its image in the Train widget, under 'painted on'."
            )
        return ""

    def _follow_truth(self) -> None:
        """Guess what 0 means in the chosen layer; the choice stays open."""
        truth = self.truth_box.layer
        if truth is not None:
            painted = was_painted_here(truth) and self._session.settings.unpainted == "unlabelled"
            self.unpainted_editor.show("unlabelled" if painted else "background")

    def _on_ended(self, outcome: Outcome) -> None:
        self.compare_button.setEnabled(True)
        prediction, truth = self._compared, self._truth
        self._compared = self._truth = None  # layers that are closed meanwhile may go
        if isinstance(outcome, Failed):
            self._complain(outcome.text)
        elif outcome.result is not None and prediction is not None and truth is not None:
            self._show(outcome.result, prediction, truth)

    def _show(self, comparison: Comparison, prediction: Labels, truth: Labels) -> None:
        values = _values_for(comparison.kind)
        self.table.show_rows(score_rows(comparison, _class_names(truth)))
        part = "" if comparison.share == 1 else f" on the {comparison.share:.0%} predicted"
        self.text.setText(f"{prediction.name}, compared with {truth.name}{part}:")
        self.legend.setText("  ".join(_legend_entry(each) for each in values))
        if prediction in plain_layers(self._viewer):
            _show_errors(self._viewer, prediction, comparison, values)

    def forget(self) -> None:
        """Show no scores: what they were of is predicted anew, or gone."""
        self._complain("")

    def _forget_removed(self, event: Any) -> None:
        if event.value.name in self.text.text():
            self.forget()

    def _complain(self, problem: str) -> None:
        """Show what is wrong, and no scores that belong to something else."""
        self.text.setText(problem)
        self.table.show_rows(())
        self.legend.setText("")


class ScoreTable(QTableWidget):
    """Scores, two to a line; takes no room while there are none."""

    def __init__(self) -> None:
        super().__init__(0, 4)
        self._header = header_of(self)
        self._header.hide()
        self._header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        for values in (1, 3):
            self._header.setSectionResizeMode(values, QHeaderView.ResizeMode.ResizeToContents)
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Scores")
        self.setToolTip("Scores of the prediction; rest the mouse on one for its meaning.")
        self.hide()

    def show_rows(self, rows: Sequence[ScoreRow]) -> None:
        """Show these scores, down the left half first."""
        n_lines = (len(rows) + 1) // 2
        self.clearContents()
        self.setRowCount(n_lines)
        for number, row in enumerate(rows):
            half, line = divmod(number, n_lines)
            for column, text in enumerate((row.name, row.text)):
                item = QTableWidgetItem(text)
                item.setToolTip(f"{row.name}: {row.tooltip}")
                self.setItem(line, 2 * half + column, item)
        self.resizeRowsToContents()
        self.setFixedHeight(sum(self.rowHeight(line) for line in range(n_lines)) + 4)
        self.setVisible(bool(rows))


def _as_it_is_now(labels: Any) -> Any:
    """Copy what painting may change; what is lazy is read by the worker."""
    return labels.copy() if isinstance(labels, np.ndarray) else labels


def _class_names(truth: Labels) -> dict[int, str]:
    annotation = annotation_in(truth)
    return {} if annotation is None else annotation.names


def _values_for(kind: Kind) -> list[ErrorValue]:
    """Return the values that an error map of this kind may hold."""
    from napari_unet.evaluation.objects import ERROR_VALUES
    from napari_unet.evaluation.scores import METRICS

    return [each for each in ERROR_VALUES if each.value in METRICS[kind].error_values]


def _legend_entry(each: ErrorValue) -> str:
    name = html.escape(each.name).replace(" ", "&nbsp;")
    # On black, where all of these colours are seen, whatever the theme
    return f'<span style="background:#000;color:{each.colour}">■</span>&nbsp;{name}'


def _show_errors(
    viewer: Viewer, prediction: Labels, comparison: Comparison, values: Sequence[ErrorValue]
) -> None:
    """Show errors in the layer of the last comparison of this prediction, or in a new one."""
    name, placement = f"{prediction.name} errors", placement_from_labels(prediction)
    layer = _errors_named(viewer, name, comparison.errors.shape)
    if layer is None:
        layer = Labels(
            comparison.errors,
            name=name,
            opacity=_OPACITY,
            metadata={METADATA_KEY: _ERRORS},
            **placement,
        )
        active = viewer.layers.selection.active
        viewer.add_layer(layer)
        viewer.layers.selection.active = active  # whoever paints goes on painting there
    else:
        layer.data = comparison.errors
        for key, value in placement.items():
            setattr(layer, key, value)
    _name_and_colour(layer, values)


def _errors_named(viewer: Viewer, name: str, shape: tuple[int, ...]) -> Labels | None:
    for layer in plain_layers(viewer):
        ours = isinstance(layer, Labels) and layer.metadata.get(METADATA_KEY) == _ERRORS
        if ours and layer.name == name and layer.data.shape == shape:
            found: Labels = layer
            return found
    return None


def _name_and_colour(layer: Labels, values: Sequence[ErrorValue]) -> None:
    """Give values their colours, and the names that napari's status bar shows."""
    import pandas as pd

    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    layer.colormap = DirectLabelColormap(
        color_dict=colours | {each.value: each.colour for each in values}
    )
    layer.features = pd.DataFrame(
        {
            "index": [0, *(each.value for each in values)],
            "error": ["background", *(each.name for each in values)],
        }
    )


# --- Beside the window: score a prediction, and put the scores into words -------------------------


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came out."""

    kind: Kind
    """What the numbers stand for."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """As `evaluate` returns them; the frames are pooled."""
    errors: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """Of the shape of the prediction: values of `ERROR_VALUES`."""
    share: float = 1.0
    """Of the pixels that was predicted and compared."""


class ScoreRow(NamedTuple):
    """One score in words."""

    name: str
    text: str
    tooltip: str


def compare_labels(
    predicted: ArrayLike,
    true: ArrayLike,
    ndim: int,
    config: EvaluateConfig,
    places: Places,
    stop: threading.Event,
) -> Comparison | None:
    """Score a prediction and colour its errors, in a worker thread; None if it was stopped.

    Of the images, of one shape and perhaps lazy, the last `ndim` axes are of space: each frame
    before them is an image of its own. `places` are frames, and the box in each, to compare; where
    there are none, all is compared.

    Raises EvaluationError if the images cannot be compared.
    """
    from napari_unet.evaluation.scores import errors_of, evaluate

    prediction, truth = np.asarray(predicted), np.asarray(true)
    kind, unpainted = config.kind, config.unpainted
    boxes = dict(places or _all_of(truth.shape, ndim))  # of several in a frame the last one
    scores = evaluate(
        [prediction[frame][region] for frame, region in boxes.items()],
        [truth[frame][region] for frame, region in boxes.items()],
        kind,
        unpainted=unpainted,
    )
    errors = np.zeros(truth.shape, np.uint8)
    for frame, region in boxes.items():
        if stop.is_set():
            return None
        errors[frame][region] = errors_of(
            prediction[frame][region], truth[frame][region], kind, unpainted
        )
    compared = sum(errors[frame][region].size for frame, region in boxes.items())
    return Comparison(kind, scores, errors, min(1.0, compared / max(1, truth.size)))


def _all_of(shape: tuple[int, ...], ndim: int) -> Places:
    n_frame_axes = len(shape) - ndim
    whole = tuple(slice(0, size) for size in shape[n_frame_axes:])
    return tuple((frame, whole) for frame in np.ndindex(*shape[:n_frame_axes]))


def score_rows(comparison: Comparison, class_names: Mapping[int, str]) -> list[ScoreRow]:
    """Return the scores that a person wants to see.

    Classes without a name in `class_names`, which is by number, are called "class 2".
    """
    from napari_unet.evaluation.scores import METRICS

    scores = comparison.scores
    rows = [
        ScoreRow(name, _short(scores[key]), tooltip)
        for key, (name, tooltip) in METRICS[comparison.kind].words.items()
        if key in scores
    ]
    for value, iou in scores.get("iou_per_class", {}).items():
        name = "background" if value == "0" else class_names.get(int(value), f"class {value}")
        rows.append(ScoreRow(f"IoU {name}", _short(iou), f"Of the pixels of {name}."))
    return rows


def _short(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.2g}" if 0 < value < 0.001 else f"{value:.3f}"
