"""COCO JSON: polygons and run lengths, for one image or for all planes of a stack."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Discriminator, Field, Tag, TypeAdapter

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.annotations.drawn import Drawn
from napari_unet.io.annotations.json_files import Number, Part, json_bytes, read_json
from napari_unet.io.annotations.outlines import trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_Size = Annotated[int, Field(ge=1, le=2**31)]


class _Image(Part):
    id: int | str
    file_name: str = ""
    height: _Size
    width: _Size


class _Runs(Part):
    size: Annotated[list[_Size], Field(min_length=2, max_length=2)]
    counts: list[Annotated[int, Field(ge=0, le=2**62)]] | str


_Segmentation = Annotated[
    Annotated[list[list[Number]], Tag("polygons")] | Annotated[_Runs, Tag("runs")],
    Discriminator(lambda value: "runs" if isinstance(value, dict) else "polygons"),
]


class _Annotation(Part):
    image_id: int | str
    category_id: int | str | None = None
    segmentation: _Segmentation | None = None
    object_id: Annotated[int, Field(ge=1, lt=2**63)] | None = None  # ours


class _Category(Part):
    id: int | str
    name: str


class _File(Part):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: tuple[_Category, ...] = ()


_FILE = TypeAdapter(_File)
_COUNTS = 2**26  # runs of one object at most


def read_coco(
    path: Path, name: str | None, shape: Sequence[int] | None
) -> tuple[list[Drawn], tuple[int, ...], tuple[str, ...]]:
    """Read the objects of one image of a COCO file, in their order.

    With them come the shape of the labels according to the file, and a notice of what was left out.
    Of a file of one image that may have any name; where the shape has planes, the images of the
    file are these, in their order. Raises FileProblemError if the file is damaged, or holds several
    images and none of this name.
    """
    content = read_json(path, _FILE, "COCO JSON")
    images = _chosen(path, content.images, name, shape)
    _check_sizes(path, images, shape)
    plane_of = {image.id: number for number, image in enumerate(images)}
    classes = {category.id: category.name for category in content.categories}
    drawn, without = [], 0
    for each in content.annotations:
        if each.image_id not in plane_of:
            continue
        image = images[plane_of[each.image_id]]
        parts, runs, height = _geometry(path, each.segmentation, (image.height, image.width))
        if not parts and runs is None:
            without += 1
            continue
        word = "" if each.category_id is None else classes.get(each.category_id, "")
        t, z = _place(plane_of[each.image_id], len(images), shape)
        drawn.append(Drawn(parts, runs, height, each.object_id, word, z=z, t=t))
    text = f"Annotations without an outline (boxes, points): {without}; they are left out."
    size = (images[0].height, images[0].width)
    told = (len(images), *size) if len(images) > 1 else size
    return drawn, told, (text,) if without else ()


def _chosen(
    path: Path, images: list[_Image], name: str | None, shape: Sequence[int] | None
) -> list[_Image]:
    stem = PurePath(name).stem if name else None
    named = [image for image in images if PurePath(image.file_name).name == name]
    named = named or [image for image in images if PurePath(image.file_name).stem == stem]
    if len(named) == 1:
        return named
    if len(images) == 1:
        return images
    if shape is not None and len(shape) > 2 and len(images) == int(np.prod(shape[:-2])):
        return images
    known = ", ".join(image.file_name for image in images[:5]) + (" ..." * (len(images) > 5))
    raise FileProblemError(
        f"{path} holds {len(images)} images ({known}), and none is named {name}; say which one "
        "by the name of the image file."
    )


def _check_sizes(path: Path, images: list[_Image], shape: Sequence[int] | None) -> None:
    """Refuse a file that was made for images of another size."""
    for image in images:
        size = (image.height, image.width)
        if shape is not None and size != tuple(shape[-2:]):
            raise LabelsError(
                f"{path.name} was made for an image of height and width {size}, yours has "
                f"{tuple(shape[-2:])}; choose the image that was annotated."
            )


def _place(number: int, count: int, shape: Sequence[int] | None) -> tuple[int | None, int | None]:
    """Return frame and plane of one of several images; one alone says nothing about them."""
    if count == 1:
        return None, None
    if shape is None or len(shape) < 4:
        return None, number
    return divmod(number, shape[1])


def _geometry(
    path: Path, segmentation: list[list[float]] | _Runs | None, size: tuple[int, int]
) -> tuple[tuple[tuple[NDArray[np.float64]], ...], NDArray[np.int64] | None, int]:
    """Return parts, or runs and their plane's height; COCO's polygons are united."""
    if segmentation is None:
        return (), None, 0
    if isinstance(segmentation, _Runs):
        return (), _runs_of(path, segmentation, size), size[0]
    if any(len(points) % 2 for points in segmentation):
        raise _damaged(path, "a polygon has an odd number of coordinates")
    rings = [np.array(points).reshape(-1, 2) for points in segmentation if len(points) >= 6]
    return tuple((ring,) for ring in rings), None, 0


def _runs_of(path: Path, runs: _Runs, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return (first, length) of each run of the object's pixels, column after column."""
    if tuple(runs.size) != size:
        told = tuple(runs.size)
        raise _damaged(path, f"run lengths are for a size of {told}, the image has {size}")
    counts = _unpacked(path, runs.counts) if isinstance(runs.counts, str) else runs.counts
    total = runs.size[0] * runs.size[1]
    if any(count < 0 for count in counts) or sum(counts) != total:
        reason = f"run lengths add up to {sum(counts)}, the image has {total} pixels"
        raise _damaged(path, reason)
    lengths = np.array(counts, np.int64)
    first = np.cumsum(lengths) - lengths
    found = np.stack([first, lengths], axis=1)[1::2]
    kept: NDArray[np.int64] = found[found[:, 1] > 0]
    return kept


def _unpacked(path: Path, text: str) -> list[int]:
    """Unpack COCO's run lengths: five bits a letter, differences to the last but one."""
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 60 or len(counts) > _COUNTS:
            raise _damaged(path, f"{letter!r} is no run length")
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    return counts


def _damaged(path: Path, reason: str) -> FileProblemError:
    return FileProblemError(f"Cannot read {path} as COCO JSON: {reason}. Export it again.")


def coco(
    labels: NDArray[np.integer[Any]],
    axes: str,
    names: Mapping[int, str] | None,
    file_name: str,
) -> bytes:
    """Return a COCO file: an image for each plane, an annotation for each object in it.

    Objects of one part without holes are polygons along the edges of their pixels; COCO's polygons
    know no holes, so all others are run lengths. "object_id" is the object's number, `names` are
    the categories of numbers, "object" without any. Planes of a stack get their numbers behind the
    stem of `file_name`. Labels are ``YX``, ``ZYX``, ``TYX`` or ``TZYX``, 0 background.
    """
    classes = sorted(set((names or {}).values()) | ({"object"} if not names else set()))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    height, width = labels.shape[-2:]
    for image_id, index in enumerate(np.ndindex(*labels.shape[:-2]), start=1):
        plane = labels[index]
        name = _plane_name(file_name, index, axes)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        numbers, counts = np.unique(plane, return_counts=True)
        sizes = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        for number, rings in trace(plane).items():
            word = (names or {}).get(number, classes[0])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": classes.index(word) + 1,
                    "object_id": number,
                    "iscrowd": 0,
                    "area": sizes[number],
                    **_segmentation(plane, number, rings),
                }
            )
    categories = [{"id": n, "name": name} for n, name in enumerate(classes, start=1)]
    return json_bytes({"images": images, "annotations": annotations, "categories": categories})


def _plane_name(file_name: str, index: tuple[int, ...], axes: str) -> str:
    path = PurePath(file_name)
    planes = [f"_{letter.lower()}{at + 1:04d}" for letter, at in zip(axes, index, strict=False)]
    return f"{path.stem}{''.join(planes)}{path.suffix}"


def _segmentation(
    plane: NDArray[np.integer[Any]], number: int, rings: list[NDArray[np.int64]]
) -> dict[str, Any]:
    corners = np.concatenate(rings)
    left, top = corners.min(axis=0).tolist()
    right, bottom = corners.max(axis=0).tolist()
    about: dict[str, Any] = {"bbox": [left, top, right - left, bottom - top]}
    if len(rings) == 1:
        return about | {"segmentation": [rings[0].ravel().tolist()]}
    height, width = plane.shape
    inside = plane[top:bottom, left:right] == number
    column, row = np.nonzero(inside.T)
    flat = (column + left) * height + row + top
    breaks = np.flatnonzero(np.diff(flat) != 1)
    first = flat[np.append(0, breaks + 1)]
    last = flat[np.append(breaks, flat.size - 1)] + 1
    ends = np.stack([first, last], axis=1).ravel()
    counts = np.diff(np.concatenate([[0], ends, [height * width]])).tolist()
    return about | {"segmentation": {"size": [height, width], "counts": counts}}
