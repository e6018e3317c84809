"""TIFF files: pixels, axes and pixel size; large ones are read piece by piece."""

from __future__ import annotations

import math
import struct
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from napari_unet.data.axes import (
    UNKNOWN_SIZE,
    WITHOUT_TRANSPARENCY,
    PixelSize,
    is_axes,
    known_sizes,
    size_along,
)
from napari_unet.errors import FileProblemError
from napari_unet.io.disk import megabytes
from napari_unet.io.lazy import FilePixels, LazyPixels
from napari_unet.io.limits import check_fits_memory
from napari_unet.io.tiff_sets import (
    MOST_PAGES,
    TIFF_SUFFIXES,
    check_complete,
    check_parts,
    chosen_series,
    split_chosen,
    too_many_pages,
)
from napari_unet.io.unpacking import check_stated_size, states_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    import tifffile
    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike

# What wrote a file, in its tag Software: by the latter our labels are known from images.
IMAGE, LABELS = "napari-unet", "napari-unet labels"
LARGE = 2**28  # bytes of pixels above which a file is not read whole
# Bytes of pixels per byte of a file, at most: far above what compression reaches.
_DENSEST = 100_000
_LARGEST_CLASSIC_TIFF = 2**31  # compressed or not, to be safe
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}
# Programs that know nothing of a pixel's size write the resolution of a printer or a screen.
_PRINTERS_PIXEL = 25_400 / 1200
_NO_TRANSPARENCY = 0  # of the tag ExtraSamples
# Where on a map the pixels lie, and what of TIFF's types each of these tags has: scale, tie points,
# transformation, and the coordinate system as keys, numbers and text.
_PLACE_ON_MAP = {33550: 12, 33922: 12, 34264: 12, 34735: 3, 34736: 12, 34737: 2}
_OME_DTYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")


class LazyTiff(LazyPixels):
    """The pixels of a series of a compressed TIFF at full size, decoded region by region.

    Can be pickled: what is unpickled opens the file again. The file is closed when nobody refers to
    the object any more.
    """

    def __init__(self, path: Path, series: int = 0) -> None:
        import tifffile  # on use: windows open without it
        import zarr

        super().__init__(path)
        with tifffile.TiffFile(path) as file:
            _let_tiles_fit(file.series[series])
            store = file.aszarr(series=series, level=0)
        self._close = weakref.finalize(self, store.close)
        self._series = series
        self._array: Any = zarr.open_array(store=store, mode="r")
        self.shape: tuple[int, ...] = self._array.shape
        self.dtype: Any = self._array.dtype

    def _read(self, region: tuple[int | range, ...]) -> Any:
        keys = (k if isinstance(k, int) else slice(k.start, k.stop, k.step) for k in region)
        return self._array[tuple(keys)]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._path, self.shape[-1], self._series)


def _reopened(path: Path, colours: int, series: int) -> LazyTiff:
    array = LazyTiff(path, series)
    return array if array.shape[-1] == colours else array.without_transparency()


def read_tiff(path: Path) -> tuple[ArrayLike, str | None, PixelSize, tuple[str, ...], bool]:
    """Read the first series of a TIFF file, or the chosen one, lazily where it is large.

    Its pixels have no transparency, and axes as stored: an ndarray up to `LARGE` bytes, above that
    `FilePixels` where the file allows it, else a `LazyTiff`. Axes and pixel size are those that the
    file names; notices say that transparency or further series were left out. Last whether it holds
    labels of ours. FileProblemError: a frame, or a file of several, is missing.
    """
    import tifffile

    path, chosen = split_chosen(path)
    with tifffile.TiffFile(path) as file:
        leads_out = _leads_out(file, path)
        check_parts(file, path)
        number, notices = chosen_series(file, path, chosen)
        series = file.series[number]
        check_complete(file, series, path)
        if _is_cut(file, series, leads_out):
            raise ValueError("its end is missing")  # read as far as it goes it looks whole
        if series.nbytes > max(LARGE, _DENSEST * file.filehandle.size):
            raise ValueError(f"its {path.stat().st_size} bytes claim {megabytes(series.nbytes)}")
        holds_labels = _tag(file, "Software", "") == LABELS
        axes = _axes(series)
        # Samples that the file calls no transparency are channels as good as the others.
        is_measured = tuple(map(int, file.pages.first.extrasamples))[-1:] == (_NO_TRANSPARENCY,)
        check_fits_memory(path, series.keyframe.chunks, series.dtype)
        _let_tiles_fit(series)
        array: Any
        if series.nbytes <= LARGE:
            array = series.asarray()
        elif series.dataoffset is not None:
            dtype = np.dtype(file.byteorder + series.dtype.char)
            array = FilePixels(path, series.dataoffset, series.shape, dtype)
        else:
            array = LazyTiff(path, number)
        pixel_size = _known_size(file, number, axes)
    has_colours = series.axes[-1:] in ("C", "S") and array.shape[-1] == 4
    if has_colours and not is_measured:  # transparency says nothing about cells
        is_lazy = isinstance(array, LazyPixels)
        array = array.without_transparency() if is_lazy else array[..., :3]
        notices += (WITHOUT_TRANSPARENCY,)
    return array, axes, pixel_size, notices, holds_labels


def _let_tiles_fit(series: tifffile.TiffPageSeries) -> None:
    """Let no tile be unpacked that states a size beyond its own."""
    if states_size(series.keyframe.compression):
        keyframes: dict[int, Any] = {id(p.keyframe): p.keyframe for p in series if p is not None}
        for page in keyframes.values():  # where tifffile keeps what it decodes with
            vars(page)["decode"] = partial(_decoded, page.decode, page)


def _decoded(
    decode: Callable[..., Any],
    page: tifffile.TiffPage,
    data: bytes | None,
    index: int,
    /,
    **more: Any,
) -> Any:
    if data is not None:
        header = more.get("jpegheader") or b""
        check_stated_size(page.compression, header + data, math.prod(page.chunks))
    return decode(data, index, **more)


def describe_tiff(path: Path) -> tuple[tuple[int, ...], str | None, PixelSize]:
    """Return shape, axes and pixel size of the first series of a TIFF file; no pixel is read."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        _leads_out(file, path)
        check_parts(file, path)
        series = file.series[0]
        axes = _axes(series)
        return series.shape, axes, _known_size(file, 0, axes)


def _axes(series: tifffile.TiffPageSeries) -> str | None:
    named = series.axes.replace("S", "C")  # tifffile calls colour samples S
    return named if is_axes(named) and len(named) == len(series.shape) else None


def _known_size(file: tifffile.TiffFile, number: int, axes: str | None) -> PixelSize:
    try:
        return size_along(axes or "ZYX", _pixel_size(file, number))
    except (ValueError, TypeError, ElementTree.ParseError):
        return UNKNOWN_SIZE  # the pixels are good, whatever the metadata says


def _is_cut(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, leads_out: bool) -> bool:
    """Return whether pages are missing: fewer than declared, or the last leads past the end."""
    if series.kind == "shaped":
        declared = (file.shaped_metadata or ({},))[0].get("shape", ())
        return bool(series.size < math.prod(declared))
    return leads_out and series.kind == "generic"


def _leads_out(file: tifffile.TiffFile, path: Path) -> bool:
    """Return whether the last page leads past the end of the file.

    Pages that lead round in a circle, in which a reader would go on for ever, raise ValueError;
    FileProblemError if there are more than anybody waits for.
    """
    handle, seen = file.filehandle, set()
    place = file.pages.first.offset
    while place:
        if place in seen:
            raise ValueError("its pages lead round in a circle")
        seen.add(place)
        if len(seen) > MOST_PAGES:
            raise FileProblemError(too_many_pages(path))
        end = _end_of_page(file, place)
        if end + file.tiff.offsetsize > handle.size:
            return True
        handle.seek(end)
        (place,) = struct.unpack(file.tiff.offsetformat, handle.read(file.tiff.offsetsize))
    return False


def _end_of_page(file: tifffile.TiffFile, start: int) -> int:
    """Return where the entries of a page end, and the place of the next page stands."""
    form, handle = file.tiff, file.filehandle
    if start + form.tagnosize > handle.size:
        return start + form.tagnosize
    handle.seek(start)
    (entries,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
    return int(start + form.tagnosize + entries * form.tagsize)


def _pixel_size(file: tifffile.TiffFile, series: int) -> PixelSize:
    if file.is_ome and file.ome_metadata:
        return _size_in_ome(file.ome_metadata, series)
    if file.is_imagej:
        return _size_in_imagej(file)
    ours = (file.shaped_metadata or ({},))[0].get("pixel_size")
    if isinstance(ours, dict):
        return {axis: float(size) for axis, size in ours.items()}
    unit = _RESOLUTION_UNITS.get(_tag(file, "ResolutionUnit", 1))
    return _unless_printed(known_sizes({axis: (_resolution(file, axis), unit) for axis in "YX"}))


def _unless_printed(size: PixelSize) -> PixelSize:
    return UNKNOWN_SIZE if any(s > _PRINTERS_PIXEL for s in size.values()) else size


def _size_in_ome(xml: str, series: int) -> PixelSize:
    described = ElementTree.fromstring(xml).findall(".//{*}Pixels")
    if len(described) <= series:
        return UNKNOWN_SIZE
    pixels = described[series]
    return known_sizes(
        {
            axis: (
                float(pixels.get(f"PhysicalSize{axis}", 0)),
                pixels.get(f"PhysicalSize{axis}Unit", "µm"),  # the default of the schema
            )
            for axis in "ZYX"
        }
    )


def _size_in_imagej(file: tifffile.TiffFile) -> PixelSize:
    about = file.imagej_metadata or {}
    depth = about.get("spacing")
    lengths = {axis: _resolution(file, axis) for axis in "YX"}
    lengths["Z"] = abs(depth) if isinstance(depth, int | float) else 0.0
    units = {axis: str(about.get(f"{axis.lower()}unit", about.get("unit"))) for axis in "ZYX"}
    sizes = known_sizes({axis: (lengths[axis], units[axis]) for axis in "ZYX"})
    is_printed = any(units[axis].lower().startswith("in") for axis in sizes)
    return _unless_printed(sizes) if is_printed else sizes


def _resolution(file: tifffile.TiffFile, axis: str) -> float:
    """Return the length of a pixel in the file's unit; 0 where it is unknown."""
    pixels, units = _tag(file, f"{axis}Resolution", (0, 1))
    return units / pixels if pixels else 0.0


def _tag(file: tifffile.TiffFile, name: str, default: Any) -> Any:
    tag = file.pages.first.tags.get(name)
    return default if tag is None else tag.value


def place_on_map(path: Path) -> tuple[tuple[Any, ...], ...]:
    """Return the tags of a GeoTIFF that say where on a map its pixels lie; none of other files."""
    import tifffile

    path, chosen = split_chosen(path)
    if path.suffix.lower() not in TIFF_SUFFIXES or not path.is_file():
        return ()
    with tifffile.TiffFile(path) as file:
        tags = file.series[(chosen or 1) - 1].keyframe.tags
        found = [tags[code] for code in _PLACE_ON_MAP if code in tags]
        return tuple(
            (tag.code, tag.dtype, tag.count, tag.value)
            for tag in found
            if tag.dtype == _PLACE_ON_MAP[tag.code]
        )


def save_tiff(
    file: BinaryIO,
    name: str,
    array: NDArray[Any],
    axes: str,
    pixel_size: PixelSize,
    software: str,
    tags: Sequence[tuple[Any, ...]] = (),
) -> None:
    """Write a compressed TIFF that names its axes and, where it is known, its pixel size.

    With a pixel size, or where it is named so, it is an OME-TIFF, as far as OME can hold the image:
    it knows no 64-bit integers, and does not distinguish an axis of length 1 from one that is not
    there. Fiji and Bio-Formats read it with its axes, which an ImageJ hyperstack of uint32 labels
    could not offer. All others find the size in the tags for the resolution.
    """
    import tifffile

    size = size_along(axes, pixel_size)
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {}
    is_ome = (bool(size) or ".ome." in name.lower()) and _fits_ome(array, axes)
    if is_ome:
        metadata |= {f"PhysicalSize{axis}": length for axis, length in size.items()}
        metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in size}
    elif size:
        metadata["pixel_size"] = size
    if "X" in size and "Y" in size:
        per_centimetre = (1e4 / size["X"], 1e4 / size["Y"])
        options = {"resolution": per_centimetre, "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        file,
        array,
        compression="zlib",
        metadata=metadata,
        photometric="minisblack",
        bigtiff=array.nbytes > _LARGEST_CLASSIC_TIFF,
        ome=is_ome,
        software=software,
        extratags=tags,
        **options,
    )


def _fits_ome(array: NDArray[Any], axes: str) -> bool:
    longer = all(array.shape[axes.index(axis)] > 1 for axis in axes if axis in "TCZ")
    return axes.endswith("YX") and longer and np.dtype(array.dtype).name in _OME_DTYPES
