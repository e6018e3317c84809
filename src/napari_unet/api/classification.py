"""Classes of finished objects, from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.data.axes import UNKNOWN_SIZE, check_pixel_size
from napari_unet.data.labels import check_labels
from napari_unet.errors import ARRAY, MAPPING, TEXT, ConfigError, accepting
from napari_unet.objects.classifier import ObjectClassifier, class_columns
from napari_unet.objects.description import describe_objects
from napari_unet.objects.measurements import channel_axis_beside, measurable_axes, measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, PixelSize
    from napari_unet.data.labels import IntArray

    Columns = dict[str, NDArray[Any]]
    Examples = Mapping[int, str] | Mapping[tuple[int, int], str]


@accepting(labels=ARRAY, image=ARRAY, examples=MAPPING, axes=TEXT, pixel_size=MAPPING)
def classify_objects(
    labels: IntArray,
    image: ArrayLike | None = None,
    *,
    classifier: ObjectClassifier | None = None,
    examples: Examples | None = None,
    axes: str | None = None,
    pixel_size: PixelSize = UNKNOWN_SIZE,
) -> Columns:
    """Tell the classes of finished objects, by a few examples.

    Parameters
    ----------
    labels, image, axes, pixel_size
        As of `measure`. Texture and intensities of all channels count; without an image sizes,
        shapes and neighbours alone.
    classifier : ObjectClassifier, optional
        What was learned before: of `object_classifier` or `load_classifier`.
    examples : mapping of int to str, optional
        The class of some objects, by their number; in movies by number and frame. With a
        classifier both count.

    Returns
    -------
    dict of ndarray
        Columns of `measure`, and "class"; "probability" of that class, 0 to 1; "certainty": how
        much likelier it is than the second class, 0 to 1; "example": the class that was given, or
        "".

    Raises
    ------
    ConfigError
        There are examples of fewer than two classes, one of an object that is not there, or the
        classifier learned from images with another number of channels.
    LabelsError, ImageError
        As of `measure`.

    Examples
    --------
    >>> labels = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((6, 6), int))
    >>> labels[3:6, :] = 0  # two flat objects, and two square ones
    >>> nu.classify_objects(labels, examples={1: "flat", 3: "square"})["class"].tolist()
    ['flat', 'flat', 'square', 'square']
    """
    measured = measure(labels, image, axes=axes, pixel_size=pixel_size)
    described = _described(labels, image, axes, pixel_size)
    given = _rows_of(examples or {}, described)
    learned = _learned(described, given)
    classifier = learned if classifier is None else classifier.with_examples(learned)
    found = classifier.classify(described)
    return measured | class_columns(classifier.names, found, given)


@accepting(labels=ARRAY, image=ARRAY, examples=MAPPING, axes=TEXT, pixel_size=MAPPING)
def object_classifier(
    labels: IntArray,
    image: ArrayLike | None = None,
    *,
    examples: Examples,
    axes: str | None = None,
    pixel_size: PixelSize = UNKNOWN_SIZE,
) -> ObjectClassifier:
    """Learn classes of objects, for `classify_objects` on other images.

    Parameters are those of `classify_objects`; ``a.with_examples(b)`` has learned from two images.
    """
    described = _described(labels, image, axes, pixel_size)
    return _learned(described, _rows_of(examples, described))


def _described(
    labels: IntArray, image: ArrayLike | None, axes: str | None, pixel_size: PixelSize
) -> Columns:
    labels = check_labels(labels)
    axes = measurable_axes(labels, axes)
    check_pixel_size(pixel_size)
    channel_axis = None if image is None else channel_axis_beside(image.shape, labels.shape)
    scale = [pixel_size.get(axis, 1.0) for axis in axes]
    return describe_objects(labels, image, channel_axis, scale, 3 if "Z" in axes else 2)


def _rows_of(examples: Examples, described: Columns) -> dict[int, str]:
    """Return the class of each row of which one is given."""
    keys = zip(described["index"].tolist(), described["frame"].tolist(), strict=True)
    rows = {key: row for row, key in enumerate(keys)}
    found = {}
    for which, name in examples.items():
        key = which if isinstance(which, tuple) else (which, 0)
        if key not in rows:
            where = f" in frame {key[1]}" if key[1] else ""
            raise ConfigError(f"There is no object {key[0]}{where} to be an example of {name!r}.")
        found[rows[key]] = str(name)
    return found


def _learned(described: Columns, given: Mapping[int, str]) -> ObjectClassifier:
    names, rows = tuple(dict.fromkeys(given.values())), list(given)
    some = {name: column[rows] for name, column in described.items()}
    return ObjectClassifier.of(some, names, [names.index(name) for name in given.values()])
