"""Classes of objects, learned from a few examples."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.errors import ConfigError
from napari_unet.objects.classifier import ObjectClassifier
from napari_unet.objects.description import describe_objects

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from classify_objects import balanced_accuracy, textured_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDES = (4, 9, 5, 10, 4, 9, 5, 10)


def squares(sides: Sequence[int] = SIDES, ndim: int = 2) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return squares, or cubes, of some sides, in a row."""
    labels = np.zeros((16,) * (ndim - 1) + (16 * len(sides),), np.int32)
    for number, side in enumerate(sides, start=1):
        box = (slice(2, 2 + side),) * (ndim - 1)
        labels[(*box, slice(16 * number - 14, 16 * number - 14 + side))] = number
    return labels


def test_objects_are_classified_by_two_examples_of_each_class() -> None:
    found = nu.classify_objects(squares(), examples={1: "small", 2: "big", 3: "small", 4: "big"})
    assert found["class"].tolist() == ["small", "big"] * 4
    assert found["example"].tolist() == ["small", "big"] * 2 + [""] * 4
    assert "area" in found
    assert (found["certainty"] > 0.3).all()


def test_volumes_movies_channels_and_colours_are_classified_alike() -> None:
    rng = np.random.default_rng(0)
    cubes, movie = squares(ndim=3), np.stack([squares(), squares()])
    by_number = {1: "small", 2: "big", 3: "small", 4: "big"}
    by_frame = {(number, 1): name for number, name in by_number.items()}
    assert nu.classify_objects(cubes, examples=by_number)["class"].tolist() == ["small", "big"] * 4
    channels = rng.normal(size=(2, 3, *squares().shape)).astype(np.float32)
    found = nu.classify_objects(movie, channels, axes="TYX", examples=by_frame)
    assert len(found["class"]) == 16
    assert found["class"][found["frame"] == 0].tolist() == ["small", "big"] * 4
    rgb = rng.integers(0, 255, (*squares().shape, 3), np.uint8)
    assert len(nu.classify_objects(squares(), rgb, examples=by_number)["class"]) == 8


def test_a_classifier_goes_on_on_another_image() -> None:
    learned = nu.object_classifier(squares(), examples={1: "small", 2: "big", 3: "small", 4: "big"})
    assert nu.classify_objects(squares((10, 4)), classifier=learned)["class"].tolist() == [
        "big",
        "small",
    ]


def test_examples_of_two_images_count_together() -> None:
    small = nu.object_classifier(squares(), examples={1: "small", 3: "small"})
    big = nu.object_classifier(squares(), examples={2: "big", 4: "big"})
    both = small.with_examples(big)
    assert both.names == ("small", "big")
    assert nu.classify_objects(squares(), classifier=both)["class"].tolist() == ["small", "big"] * 4


def test_the_same_examples_give_the_same_classes_and_certainties() -> None:
    examples = {1: "small", 2: "big"}
    one, other = (nu.classify_objects(squares(), examples=examples) for _ in range(2))
    assert one["certainty"].tolist() == other["certainty"].tolist()


def test_what_an_example_says_is_believed() -> None:
    found = nu.classify_objects(squares(), examples={1: "a", 3: "a", 5: "b", 2: "b", 4: "b"})
    assert found["class"][4] == "b"


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ({}, "there are no examples"),
        ({1: "small", 3: "small"}, "all examples are of class 'small'. Give examples of two"),
        ({1: "small", 99: "big"}, "There is no object 99 to be an example of 'big'"),
    ],
)
def test_examples_that_teach_nothing_are_refused(examples: dict[int, str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        nu.classify_objects(squares(), examples=examples)


def test_another_number_of_channels_is_refused_in_words() -> None:
    learned = nu.object_classifier(squares(), examples={1: "small", 2: "big"})
    with pytest.raises(ConfigError, match="learned from labels alone, and there are 1 channel"):
        nu.classify_objects(squares(), np.zeros(squares().shape), classifier=learned)


def test_objects_with_unknown_numbers_are_classified_by_the_others() -> None:
    image = np.ones(squares().shape)
    image[squares() == 5] = np.nan
    examples = {1: "small", 2: "big", 3: "small", 4: "big"}
    assert nu.classify_objects(squares(), image, examples=examples)["class"][4] == "small"


def test_an_image_without_objects_has_an_empty_table() -> None:
    learned = nu.object_classifier(squares(), examples={1: "small", 2: "big"})
    found = nu.classify_objects(np.zeros((16, 16), int), classifier=learned)
    assert len(found["class"]) == 0


def test_twenty_clicks_tell_cells_that_differ_in_texture_only() -> None:
    labels, image, kinds = textured_cells(10, seed=1)
    described = describe_objects(labels, image)
    scores = [balanced_accuracy(described, kinds, seed) for seed in range(5)]
    assert min(scores) >= 0.9


def test_ten_thousand_objects_are_classified_in_less_than_a_second_of_work() -> None:
    rng = np.random.default_rng(0)
    described = {"index": np.arange(10_000), "frame": np.zeros(10_000, int)}
    described |= {f"column {i}": rng.normal(size=10_000) for i in range(60)}
    some = {name: column[:20] for name, column in described.items()}
    classifier = ObjectClassifier.of(some, ("a", "b"), np.arange(20) % 2)
    classifier.classify(some)  # imports
    begun = time.process_time()
    classifier = ObjectClassifier.of(some, ("a", "b"), np.arange(20) % 2)
    assert len(classifier.classify(described).classes) == 10_000
    assert time.process_time() - begun < 1
