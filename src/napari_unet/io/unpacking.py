"""How large packed pixels become, found out before memory is taken for them.

A tile of a few bytes may claim gigabytes. Formats that state their size are asked for it, others
are unpacked as far as they may become.
"""

from __future__ import annotations

import bz2
import lzma
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Packed = bytes | memoryview

# What is stored may be of a wider type, or have more samples, than what is shown.
_MARGIN, _SMALL = 4, 2**20
_MEMORY_OF_LZMA = 2**28


# --- Streams: of Zarr ----------------------------------------------------------------------------


def unpacked(codec: str, data: Packed, place: int, options: Mapping[str, Any]) -> bytes | None:
    """Unpack bytes that state no size; None where they do, and the codec may go on.

    ValueError if more would come out than a place of so many bytes holds; KeyError for a codec that
    is not known here.
    """
    size = _STATED[codec](data) if codec in _STATED else None
    if size is None:
        return _streamed(_STREAMS[codec], data, place, options)
    _check_size(size, place)
    return None


def can_unpack(codec: str) -> bool:
    """Return whether `unpacked` knows a codec."""
    return codec in _STATED or codec in _STREAMS


def _streamed(
    start: Callable[[Mapping[str, Any]], Any],
    data: Packed,
    place: int,
    options: Mapping[str, Any],
) -> bytes:
    parts, size, most = [], 0, _MARGIN * place + _SMALL
    while data:  # streams may stand one behind the other
        stream = start(options)
        parts.append(stream.decompress(data, most + 1 - size))
        size += len(parts[-1])
        _check_size(size, place)
        if not stream.eof:
            raise ValueError("a part of it is cut off")
        data = stream.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _lzma(options: Mapping[str, Any]) -> lzma.LZMADecompressor:
    kind, filters = options.get("format", lzma.FORMAT_XZ), options.get("filters")
    if kind == lzma.FORMAT_RAW:
        return lzma.LZMADecompressor(kind, filters=filters)
    return lzma.LZMADecompressor(kind, memlimit=_MEMORY_OF_LZMA)


class _Zstd:
    """A frame that states no size: unpacked into so many bytes and no more."""

    eof, unused_data = True, b""

    def decompress(self, data: Packed, most: int) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.zstd_decode(bytes(data), out=most))


_STREAMS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "gzip": lambda _: zlib.decompressobj(31),
    "zlib": lambda _: zlib.decompressobj(15),
    "bz2": lambda _: bz2.BZ2Decompressor(),
    "lzma": _lzma,
    "zstd": lambda _: _Zstd(),
}


def _zstd_size(data: Packed) -> int | None:
    """Read the content size of the first frame, the only one that is unpacked."""
    if data[:4] != b"\x28\xb5\x2f\xfd":
        return None
    flags = data[4] if len(data) > 4 else 0
    is_single, length = flags >> 5 & 1, (1, 2, 4, 8)[flags >> 6]
    if flags >> 6 == 0 and not is_single:
        return None
    start = 5 + (not is_single) + (0, 1, 2, 4)[flags & 3]
    if len(data) < start + length:
        return None
    return int.from_bytes(data[start : start + length], "little") + 256 * (length == 2)


_STATED: dict[str, Callable[[Packed], int | None]] = {
    "blosc": lambda data: int.from_bytes(data[4:8], "little"),
    "lz4": lambda data: int.from_bytes(data[:4], "little"),
    "zstd": _zstd_size,
}


# --- Images in the tiles of a TIFF ---------------------------------------------------------------


def states_size(compression: int) -> bool:
    """Return whether tiles of a TIFF are images that state a size of their own.

    All others are unpacked by tifffile into as many bytes as a tile has. `compression` is TIFF's
    number.
    """
    return compression in _IMAGES


def check_stated_size(compression: int, data: bytes, place: int) -> None:
    """Refuse, by ValueError, an image that states more values than its tile has, or no size."""
    try:
        stated = math.prod(_IMAGES[compression](data))
    except (struct.error, IndexError) as error:
        raise ValueError("a part of it states no size") from error
    _check_size(stated, place)


def _check_size(stated: int, place: int) -> None:
    if stated > _MARGIN * place + _SMALL:
        raise ValueError(
            f"a part of it would unpack to {stated} numbers, where {place} belong; save it anew"
        )


def jpeg_size(data: bytes) -> tuple[int, ...]:
    """Find the largest start of a frame among the segments up to the first scan: its sizes."""
    at, found = 2, (0,)
    while True:
        at = data.index(0xFF, at)
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 2
        elif marker in (0xDA, 0xD9):
            return found
        else:
            length = struct.unpack_from(">H", data, at + 2)[0]
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                height, width, samples = struct.unpack_from(">HHB", data, at + 5)
                found = max(found, (height, width, samples), key=math.prod)
            at += 2 + length


def jpeg_2000_size(data: bytes) -> tuple[int, ...]:
    """Read width, height and channels; IndexError where there are none."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0:
        raise IndexError
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    (samples,) = struct.unpack_from(">H", data, at + 40)
    return right - left, bottom - top, samples


def _png(data: bytes) -> tuple[int, ...]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _webp(data: bytes) -> tuple[int, ...]:
    kind = data[12:16]
    if kind == b"VP8X":
        return tuple(int.from_bytes(data[n : n + 3], "little") + 1 for n in (24, 27))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_xl(data: bytes) -> tuple[int, ...]:
    """Read the size behind the signature, bit by bit."""
    at = 0
    if data[4:8] == b"JXL ":  # in boxes
        whole, part = data.find(b"jxlc"), data.find(b"jxlp")
        at = whole + 4 if whole >= 0 else part + 8
    if data[at : at + 2] != b"\xff\x0a" or len(data) < at + 4:
        raise IndexError
    bits, used = int.from_bytes(data[at + 2 : at + 18], "little"), 0

    def read(count: int) -> int:
        nonlocal used
        used += count
        return bits >> (used - count) & (1 << count) - 1

    is_small = read(1)

    def length() -> int:
        return (read(5) + 1) * 8 if is_small else read((9, 13, 18, 30)[read(2)]) + 1

    height, ratio = length(), read(3)
    if ratio == 0:
        return height, length()
    over, under = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height, height * over // under


def _lerc(data: bytes) -> tuple[int, ...]:
    if data[:6] != b"Lerc2 ":
        raise IndexError
    (version,) = struct.unpack_from("<i", data, 6)
    sizes = struct.unpack_from("<3i" if version >= 4 else "<2i", data, 14 if version >= 3 else 10)
    return tuple(map(abs, sizes))


def _jpeg_xr(data: bytes) -> tuple[int, ...]:
    """Read width and height out of its table, which is that of a TIFF."""
    if data[:3] != b"II\xbc":
        raise IndexError
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    sizes = []
    for number in range(count):
        tag, kind, _, value = struct.unpack_from("<HHII", data, start + 2 + 12 * number)
        if tag in (0xBC80, 0xBC81):
            sizes.append(value & 0xFFFF if kind == 3 else value)
    if len(sizes) != 2:
        raise IndexError
    return tuple(sizes)


_IMAGES: dict[int, Callable[[bytes], tuple[int, ...]]] = {
    **dict.fromkeys((6, 7, 33007, 34892), jpeg_size),
    **dict.fromkeys((33003, 33004, 33005, 34712), jpeg_2000_size),
    **dict.fromkeys((50001, 34927), _webp),
    **dict.fromkeys((50002, 52546), _jpeg_xl),
    **dict.fromkeys((34934, 22610), _jpeg_xr),
    34887: _lerc,
    34933: _png,
}
