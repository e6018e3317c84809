"""The results of a project as layers: still known as results, with what was corrected in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.layers import Image, Labels, Tracks

from napari_unet.io.disk import short_reason
from napari_unet.objects.linking import Known
from napari_unet.objects.tracks import LinkMemory
from napari_unet.project.contents import ProjectResult, ProjectTracks
from napari_unet.widgets.common.layers import METADATA_KEY, plain_layers
from napari_unet.widgets.common.result_layer import KeptResult, Predicted, empty_result
from napari_unet.widgets.common.result_writing import ResultLayer
from napari_unet.widgets.models.project_classes import open_classes, saved_classes
from napari_unet.widgets.models.project_images import (
    plain_placement,
    saved_placement,
    without_odd_placement,
)
from napari_unet.widgets.predict.link_work import LINKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_unet.project.contents import Project

    Places = tuple[tuple[tuple[int, ...], tuple[slice, ...]], ...]


def corrected_results(viewer: Viewer, most_pixels: int) -> list[Labels]:
    """List the results in which something was corrected, the topmost first, up to so many pixels.

    What a training or a prediction writes there meanwhile is no correction.
    """
    found = []
    for layer in reversed(plain_layers(viewer)):
        about = layer.metadata.get(METADATA_KEY)
        if not isinstance(layer, Labels) or not isinstance(about, Predicted) or about.in_progress:
            continue
        most_pixels -= layer.data.size
        if most_pixels >= 0 and not np.array_equal(layer.data, about.labels):
            found.append(layer)
    return found


def saved_results(
    layers: Sequence[Layer], images: Sequence[Image]
) -> tuple[tuple[ProjectResult, ...], tuple[ProjectTracks, ...]]:
    """Return copies of all results among layers, and of what was linked in them."""
    results: list[ProjectResult] = []
    tracks: list[ProjectTracks] = []
    for layer in layers:
        about = layer.metadata.get(METADATA_KEY)
        if isinstance(layer, Labels) and isinstance(about, Predicted):
            results.append(_result_entry(layer, about, images))
        elif isinstance(layer, Tracks) and about == LINKED:
            tracks.append(_tracks_entry(layer))
    return tuple(results), tuple(tracks)


def _result_entry(layer: Labels, about: Predicted, images: Sequence[Image]) -> ProjectResult:
    now = about.as_it_is(layer)
    return ProjectResult(
        shown=now.shown,
        predicted=None if now.predicted is now.shown else now.predicted,
        taken=now.taken,
        image=images.index(about.image) if about.image in images else -1,
        kind=about.kind,
        ndim=about.ndim,
        start=about.start,
        linked=about.linked and not about.stale,
        mothers=dict(about.memory.parents),
        must_link=about.memory.known.must,
        cannot_link=about.memory.known.cannot,
        places=tuple(
            (frame, tuple((part.start, part.stop) for part in box)) for frame, box in now.places
        ),
        made_as=about.name,
        object_classes=saved_classes(layer),
        **_about_layer(layer),
    )


def _about_layer(layer: Labels) -> dict[str, Any]:
    return {
        "name": layer.name,
        "outline": int(layer.contour),
        "opacity": float(layer.opacity),
        "visible": bool(layer.visible),
        **plain_placement(layer),
    }


def _tracks_entry(layer: Tracks) -> ProjectTracks:
    return ProjectTracks(
        layer.name,
        points=np.array(layer.data),
        parents={int(child): tuple(map(int, of)) for child, of in layer.graph.items()},
        visible=bool(layer.visible),
        **plain_placement(layer),
    )


def open_results(viewer: Viewer, project: Project, images: Sequence[Image | None]) -> list[str]:
    """Add the results and tracks of a project to a viewer; return what went wrong, in words.

    `images` are those of the project, as far as they could be opened.
    """
    problems: list[str] = []
    layers: tuple[ProjectResult | ProjectTracks, ...] = (*project.results, *project.tracks)
    for saved in layers:
        entry, problem = without_odd_placement(saved)
        problems += [problem] if problem else []
        try:
            if isinstance(entry, ProjectTracks):
                _open_tracks(viewer, entry)
            elif entry.shown is not None:
                _open_result(viewer, entry, images)
        except Exception as error:  # of napari: what it refuses is not listed anywhere
            problems.append(f"{entry.name} cannot be shown: {short_reason(error)}.")
    return problems


def _open_result(viewer: Viewer, entry: ProjectResult, images: Sequence[Image | None]) -> None:
    shown = np.asarray(entry.shown)
    image = images[entry.image] if 0 <= entry.image < len(images) else None
    placement = saved_placement(entry, shown.ndim)
    copied = entry.linked and not entry.made_as  # from labels that lie beside it
    if copied or image is None:
        layer = _plain_layer(viewer, entry, image, placement)
    else:
        layer = _result_layer(viewer, entry, image, placement)
    open_classes(layer, entry.object_classes, image)
    layer.contour, layer.opacity, layer.visible = entry.outline, entry.opacity, entry.visible


def _result_layer(
    viewer: Viewer, entry: ProjectResult, image: Image, placement: dict[str, Any]
) -> Labels:
    largest = int(np.asarray(entry.shown).max(initial=0))
    dtype = empty_result(entry.kind, (), largest).dtype
    shown, predicted, taken = (
        None if array is None else array.astype(dtype)
        for array in (entry.shown, entry.predicted, entry.taken)
    )
    assert shown is not None
    places = ((frame, tuple(slice(*part) for part in box)) for frame, box in entry.places)
    kept = KeptResult(
        shown,
        shown.copy() if predicted is None else predicted,
        taken,
        cast("Places", tuple(places)),
    )
    made = ResultLayer(
        viewer, image, entry.kind, entry.ndim, shown.shape, placement, None, entry.start,
        largest=largest,
    )  # fmt: skip
    layer = made.show_saved(kept, entry.name)
    _remember_links(layer.metadata[METADATA_KEY], entry)
    if entry.made_as != entry.name:  # the user has renamed it: no prediction replaces it
        layer.metadata[METADATA_KEY].name = entry.made_as
    return layer


def _remember_links(about: Predicted, entry: ProjectResult) -> None:
    known = Known.of(entry.must_link, entry.cannot_link)
    about.linked, about.memory = entry.linked, LinkMemory(entry.mothers, known)


def _plain_layer(
    viewer: Viewer, entry: ProjectResult, image: Image | None, placement: dict[str, Any]
) -> Labels:
    """Add what was linked, or the result of an image that cannot be opened."""
    shown = np.asarray(entry.shown)
    about: object = "edited"
    if entry.linked:
        before = shown if entry.predicted is None else np.asarray(entry.predicted)
        about = Predicted(before.copy(), entry.ndim, taken=entry.taken)
        _remember_links(about, entry)
        if image is not None:
            about.image = image
    layer = Labels(shown, name=entry.name, metadata={METADATA_KEY: about}, **placement)
    viewer.add_layer(layer)
    return layer


def _open_tracks(viewer: Viewer, entry: ProjectTracks) -> None:
    if entry.points is None:
        return
    layer = Tracks(
        np.asarray(entry.points),
        graph={child: list(parents) for child, parents in entry.parents.items()},
        name=entry.name,
        metadata={METADATA_KEY: LINKED},
        **saved_placement(entry, np.shape(entry.points)[1] - 1),
    )
    layer.visible = entry.visible
    viewer.add_layer(layer)
