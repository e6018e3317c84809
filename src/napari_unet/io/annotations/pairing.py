"""Which annotation belongs to which image, by their names."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.errors import FileProblemError
from napari_unet.io.annotations.cellpose import is_seg
from napari_unet.io.annotations.ctc import is_ctc
from napari_unet.io.annotations.reading import is_external_annotation
from napari_unet.io.files import (
    IMAGE_SUFFIXES,
    find_images,
    name_of,
    pair_files,
    stem_of,
    without_run_cards,
)
from napari_unet.io.zarr_files import ZARR_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENDINGS = ("_seg", "_cp_masks")  # what Cellpose adds to the name of an image


def find_annotations(paths: Sequence[str | Path]) -> list[Path]:
    """Expand files, folders and globs to annotations and label images, sorted by name.

    A folder of frames of the Cell Tracking Challenge is one annotation. Of other folders Cellpose's
    ``_seg.npy`` files are taken where there are any, else the images, else outlines. A path that
    does not exist, or where nothing readable is found, raises FileProblemError.
    """
    found: set[Path] = set()
    for entry in map(str, paths):
        path = Path(entry).expanduser()
        matches = [path] if path.exists() else [Path(each) for each in glob.glob(str(path))]
        external = {each for match in matches for each in _external_in(match)}
        found |= external or set(find_images([entry]))
        if not any(map(is_seg, external)):  # the images beside Cellpose's files are no labels
            found |= {each for each in matches if each.suffix.lower() in IMAGE_SUFFIXES}
    found = without_run_cards(found)
    return sorted(found, key=lambda path: (name_of(path), str(path)))


def _external_in(path: Path) -> list[Path]:
    """Return the annotations of other programs that a path names or holds."""
    if path.is_file():
        return [path] if is_external_annotation(path) else []
    if not path.is_dir() or path.suffix.lower() == ZARR_SUFFIX:
        return []
    if is_ctc(path):
        return [path]
    inside = [each for each in path.iterdir() if each.is_file() and each.name[0] != "."]
    of_cellpose = [each for each in inside if is_seg(each)]
    has_images = any(each.suffix.lower() in IMAGE_SUFFIXES for each in path.iterdir())
    outlines = [each for each in inside if is_external_annotation(each)]
    return of_cellpose or ([] if has_images else outlines)


def annotation_stem(path: Path) -> str:
    """Return the name of the image that an annotation belongs to, without suffixes.

    Examples
    --------
    >>> [annotation_stem(Path(name)) for name in ("a_seg.npy", "a_cp_masks.png", "a.ome.tif")]
    ['a', 'a', 'a']
    """
    stem = stem_of(path) if not is_ctc(path) else path.name
    return next((stem.removesuffix(end) for end in _ENDINGS if stem.endswith(end)), stem)


def pair_annotations(images: Sequence[Path], labels: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair images with annotations: by equal names, or by those without Cellpose's endings.

    Those without a partner raise FileProblemError, which lists them.
    """
    try:
        return pair_files(images, labels)
    except FileProblemError:
        by_stem = {annotation_stem(path): path for path in labels}
        stems = [stem_of(path) for path in images]
        if len(by_stem) == len(labels) == len(set(stems)) and set(stems) == set(by_stem):
            return [(path, by_stem[stem]) for path, stem in zip(images, stems, strict=True)]
        raise
