"""Between the layers of a viewer and a project folder."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error

from napari_unet.data.labels import copy_of_paint
from napari_unet.errors import ConfigError, FileProblemError, NapariUNetError
from napari_unet.io.disk import short_reason
from napari_unet.project.contents import MODEL_FILE, Project, ProjectImage
from napari_unet.project.folder import load_project
from napari_unet.widgets.common.annotation import (
    ANNOTATION_KEY,
    Annotation,
    annotation_of,
    colour_layer,
    fits,
)
from napari_unet.widgets.common.layers import labels_of, layers_of_others, plain_layers
from napari_unet.widgets.common.pairs import every_pair, paint_on_none
from napari_unet.widgets.common.placement import placement_along
from napari_unet.widgets.common.regions import new_regions_layer, regions_of
from napari_unet.widgets.common.result_layer import image_of_result
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import label_axes
from napari_unet.widgets.models.project_classes import open_classes, saved_classes
from napari_unet.widgets.models.project_images import (
    open_image,
    plain_placement,
    saved_placement,
    without_odd_placement,
)
from napari_unet.widgets.models.project_results import (
    corrected_results,
    open_results,
    saved_results,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from napari.layers import Layer
    from napari.viewer import Viewer


# What is copied while the window waits, for recovery: the rest is in files, or found again.
_LARGEST_COPY = 2**26  # bytes of an image that lies in no file
_LARGEST_RESULTS = 2**25  # pixels of all results that are corrected


def whole_project_of(viewer: Viewer) -> Project:
    """Return all of a session: images, paint and results (copied), tracks and settings."""
    return _project_of(viewer, layers_of_others(viewer, Image), plain_layers(viewer), None)


def project_to_recover(viewer: Viewer) -> Project:
    """Return what a session would not find again: paint, and results that were corrected."""
    results = corrected_results(viewer, _LARGEST_RESULTS)
    images = [image_of_result(layer) for layer in results]
    return _project_of(viewer, [e for e in images if e is not None], results, _LARGEST_COPY)


def _project_of(
    viewer: Viewer,
    images: Sequence[Image],
    results: Sequence[Layer],
    largest_copy: int | None,
) -> Project:
    """Return a project of images and results, and of all that is painted, on whatever image.

    Images that come from no file are copied up to so many bytes; None: all of them.
    """
    session, pairs = session_of(viewer), every_pair(viewer)
    entries = [
        _with_paint(viewer, _image_entry(pair.image, largest_copy), pair.annotation)
        for pair in pairs
    ]
    places = [pair.image for pair in pairs]
    for image in images:
        if image not in places:
            places.append(image)
            entries.append(_image_entry(image, largest_copy))
    entries += [_with_paint(viewer, ProjectImage(""), layer) for layer in paint_on_none(viewer)]
    found, tracks = saved_results(results, places)
    return Project(
        images=tuple(entries),
        settings=asdict(session.settings),
        preset=session.preset,
        model_name=session.model_name,
        results=found,
        tracks=tracks,
    )


def _image_entry(image: Image, largest_copy: int | None) -> ProjectImage:
    path = str(image.source.path or "")
    pixels = image.data[0] if image.multiscale else image.data
    size = int(np.prod(pixels.shape)) * np.dtype(pixels.dtype).itemsize
    copied = not path and (largest_copy is None or size <= largest_copy)
    return ProjectImage(
        image.name,
        image_path=path,
        image=pixels if copied else None,
        rgb=image.rgb,
        **plain_placement(image),
    )


def _with_paint(viewer: Viewer, entry: ProjectImage, layer: Labels) -> ProjectImage:
    annotation = annotation_of(layer)
    placement: dict[str, Any] = {} if entry.name else plain_placement(layer)
    return replace(
        entry,
        **placement,
        labels_name=layer.name,
        labels=copy_of_paint(labels_of(layer)),
        corrected=None if annotation.corrected is None else copy_of_paint(annotation.corrected),
        regions=tuple(
            tuple((part.start, part.stop) for part in region)
            for region in regions_of(viewer, layer)
        ),
        kind=annotation.kind,
        class_names=dict(annotation.names),
        class_colours=dict(annotation.colours),
        used=annotation.used,
        object_classes=saved_classes(layer),
    )


def open_project(viewer: Viewer, project: Project, folder: Path | None = None) -> None:
    """Add the images and annotations of a project to a viewer, and take over its settings.

    A part that is damaged does not keep the others from being opened. FileProblemError if there is
    one, or an image is not where it was: what could be opened stays open.
    """
    problems, missing = list(project.problems), []
    images: list[Image | None] = []
    for saved in project.images:
        entry, problem = without_odd_placement(saved)
        problems += [problem] if problem else []
        image = None
        try:
            image = open_image(viewer, entry, folder)
            if image is None and entry.name:  # else it is paint of which that is not clear
                missing.append(entry.image_path or entry.name)
        except FileProblemError as error:
            missing.append(str(error))
        images.append(image)
        try:
            if entry.labels is not None:
                _add_annotation(viewer, entry, image)
        except Exception as error:  # of napari: what it refuses is not listed anywhere
            problems.append(f"{entry.labels_name} cannot be shown: {short_reason(error)}.")
    problems += open_results(viewer, project, images)
    try:
        _take_settings(viewer, project)
    except FileProblemError as error:
        problems.append(str(error))
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        problems.append(
            f"Not found, damaged, or of no known image format: {names}. Open these "
            "images by hand; their annotations are there already."
        )
    if problems:
        raise FileProblemError(" ".join(problems))


def _take_settings(viewer: Viewer, project: Project) -> None:
    from pydantic import TypeAdapter, ValidationError

    from napari_unet.training.config import PRESET_HELP, TrainConfig, present_names

    try:
        if project.preset not in PRESET_HELP:
            raise ConfigError(f"there is no preset {project.preset[:50]!r}")
        settings = TypeAdapter(TrainConfig).validate_python(present_names(project.settings))
    except (ValidationError, ConfigError) as error:
        reason = " ".join(" ".join(str(error).splitlines()[:3]).split())[:300]
        raise FileProblemError(
            f"The settings of the project were left out, they do not fit: {reason}"
        ) from error
    session = session_of(viewer)
    session.preset, session.settings = project.preset, settings
    session.settings_loaded.emit(project.preset, settings)


def _add_annotation(viewer: Viewer, entry: ProjectImage, image: Image | None) -> None:
    labels = np.asarray(entry.labels)
    placement = saved_placement(entry, labels.ndim)
    if image is not None and fits(image, labels.shape):
        placement = placement_along(image, label_axes(image, labels.shape))
    state = Annotation(
        kind=entry.kind,
        names=dict(entry.class_names),
        colours=dict(entry.class_colours),
        used=entry.used,
        corrected=entry.corrected,
    )
    if image is not None:
        state.image = image
    layer = Labels(labels, name=entry.labels_name, metadata={ANNOTATION_KEY: state}, **placement)
    open_classes(layer, entry.object_classes, image)
    viewer.add_layer(layer)
    colour_layer(layer, state.names)
    if entry.regions:
        shapes = new_regions_layer(viewer, layer)
        for region in entry.regions:
            shapes.add_rectangles(_corners(region))
    if image is not None:
        session_of(viewer).choose_annotation(image, layer)


def _corners(region: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Return the corners of a box in its last two axes, in the plane of the others' start."""
    (y0, y1), (x0, x1) = region[-2:]
    lead = [start for start, _ in region[:-2]]
    plane = ((y0, x0), (y0, x1 - 1), (y1 - 1, x1 - 1), (y1 - 1, x0))
    return np.array([[*lead, y, x] for y, x in plane], float)


def open_folder(viewer: Viewer, folder: Path) -> bool:
    """Open a project folder: layers and settings at once, its model in the background.

    Errors are shown; what could be opened stays open. False means that there is no project that
    can be read.
    """
    session = session_of(viewer)
    try:
        project = load_project(folder)
    except NapariUNetError as error:
        show_error(str(error))
        return False
    try:
        open_project(viewer, project, folder)
    except NapariUNetError as error:
        show_error(str(error))
    if project.has_model:
        name = project.model_name or folder.name
        session.begin_loading(folder / MODEL_FILE, name)
    return True
