"""Zarr arrays of others: no chunk is a pipe, and none unpacks to more than a chunk.

Imported where a Zarr is opened: windows open without its library.
"""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numcodecs.abc
import numpy as np
import zarr
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import Crc32cCodec, ShardingCodec
from zarr.storage import LocalStore

from napari_unet.errors import FileProblemError
from napari_unet.io.limits import check_fits_memory, check_regular
from napari_unet.io.unpacking import can_unpack, unpacked

if TYPE_CHECKING:
    from pathlib import Path

# Codecs of numcodecs whose numbers stay as many, and about as wide.
_OF_EQUAL_SIZE = frozenset(
    [
        *("adler32", "astype", "bitround", "crc32", "crc32c", "delta", "fixedscaleoffset"),
        *("fletcher32", "jenkins_lookup3", "packbits", "quantize", "shuffle"),
    ]
)


class PlainStore(LocalStore):
    """A folder of which only files are read."""

    async def get(self, key: str, *more: Any, **options: Any) -> Any:
        """Return what is stored under a key, as `LocalStore`; FileProblemError for a pipe."""
        check_regular(self.root / key)
        return await super().get(key, *more, **options)

    def get_sync(self, key: str, **options: Any) -> Any:
        """Return the same without waiting; only newer versions of zarr ask for it."""
        check_regular(self.root / key)
        return super().get_sync(key, **options)


def with_bounded_chunks(array: zarr.Array[Any], path: Path) -> zarr.Array[Any]:
    """Return an array that unpacks no chunk to more than its place holds.

    FileProblemError if even one chunk does not fit into memory, or it is packed by a codec that
    cannot be bounded.
    """
    check_fits_memory(path, array.chunks, array.dtype)
    place = int(np.prod(array.chunks, dtype=object)) * array.dtype.itemsize
    opened, metadata = array._async_array, copy.copy(array.metadata)
    try:
        if metadata.zarr_format == 2:
            packed = metadata.compressor and _Bounded(metadata.compressor, place)
            filters = metadata.filters and tuple(_Bounded(f, place) for f in metadata.filters)
            changed: dict[str, Any] = {"compressor": packed, "filters": filters}
        else:
            changed = {"codecs": _bounded(metadata.codecs)}
    except KeyError as error:
        raise FileProblemError(
            f"{path} is packed by {str(error)[:100]}, whose size nobody knows before it is "
            "unpacked, and is not opened. Save it with another codec, such as zstd."
        ) from error
    for name, value in changed.items():
        object.__setattr__(metadata, name, value)
    bounded: Any = zarr.AsyncArray(metadata, opened.store_path, opened.config)
    return zarr.Array(bounded)


def _bounded(codecs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return codecs of version 3 of which none gives more than it may."""
    return tuple(map(_bounded_one, codecs))


def _bounded_one(codec: Any) -> Any:
    if isinstance(codec, ShardingCodec):
        inner, index = _bounded(codec.codecs), _bounded(codec.index_codecs)
        return replace(codec, codecs=inner, index_codecs=index)
    if not isinstance(codec, BytesBytesCodec) or isinstance(codec, Crc32cCodec):
        return codec
    name = _name_of(codec)
    if name in _OF_EQUAL_SIZE:
        return codec
    if not can_unpack(name):
        raise KeyError(name)
    return _BoundedCodec(codec, name)


def _name_of(codec: Any) -> str:
    return str(codec.to_dict()["name"]).removeprefix("numcodecs.")


@dataclass(frozen=True)
class _BoundedCodec(BytesBytesCodec):
    """A codec of version 3 that looks at what it unpacks."""

    codec: Any
    name: str
    is_fixed_size = False

    def to_dict(self) -> Any:
        return self.codec.to_dict()

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        size: int = self.codec.compute_encoded_size(input_byte_length, chunk_spec)
        return size

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        item = chunk_spec.dtype.to_native_dtype().itemsize
        place = int(np.prod(chunk_spec.shape, dtype=object)) * item
        options = self.codec.to_dict().get("configuration", {})
        data = chunk_bytes.as_numpy_array().data
        found = await asyncio.to_thread(unpacked, self.name, data, place, options)
        if found is None:
            return await self.codec._decode_single(chunk_bytes, chunk_spec)
        return chunk_spec.prototype.buffer.from_bytes(found)

    async def _encode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        return await self.codec._encode_single(chunk_bytes, chunk_spec)


class _Bounded(numcodecs.abc.Codec):  # type: ignore[misc]
    """A codec of version 2 that looks at what it unpacks into a place of so many bytes."""

    def __init__(self, codec: Any, place: int) -> None:
        self.codec_id = codec.codec_id
        self._codec, self._place = codec, place
        if self.codec_id not in _OF_EQUAL_SIZE and not can_unpack(self.codec_id):
            raise KeyError(self.codec_id)

    def get_config(self) -> Any:
        return self._codec.get_config()

    def encode(self, buf: Any) -> Any:
        return self._codec.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        if self.codec_id in _OF_EQUAL_SIZE:
            return self._codec.decode(buf, out)
        data = np.asarray(buf).reshape(-1).view(np.uint8).data
        found = unpacked(self.codec_id, data, self._place, self.get_config())
        return self._codec.decode(buf, out) if found is None else np.frombuffer(found, np.uint8)
