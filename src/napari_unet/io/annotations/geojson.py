"""GeoJSON as QuPath writes and reads it (and StarDist in QuPath): polygons with classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag, TypeAdapter

from napari_unet.io.annotations.drawn import Drawn
from napari_unet.io.annotations.json_files import Number, Part, json_bytes, read_json
from napari_unet.io.annotations.outlines import parts_of, trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]

_Ring = list[Annotated[list[Number], Field(min_length=2, max_length=4)]]


class _Plane(Part):
    z: int = 0
    t: int = 0


class _Polygon(Part):
    type: Literal["Polygon"]
    coordinates: list[_Ring]
    plane: _Plane | None = None


class _MultiPolygon(Part):
    type: Literal["MultiPolygon"]
    coordinates: list[list[_Ring]]
    plane: _Plane | None = None


class _OtherGeometry(Part):
    type: Literal["Point", "LineString", "MultiPoint", "MultiLineString", "GeometryCollection"]


class _Class(Part):
    name: str = ""
    names: tuple[str, ...] = ()
    color: list[int] | None = None
    colorRGB: int | None = None

    @property
    def called(self) -> str:
        return self.name or ": ".join(self.names)

    @property
    def colour(self) -> str:
        """As ``#rrggbb``; older versions of QuPath write one signed number."""
        if self.color is not None and len(self.color) >= 3:
            red, green, blue = (max(0, min(each, 255)) for each in self.color[:3])
            return f"#{red:02x}{green:02x}{blue:02x}"
        return "" if self.colorRGB is None else f"#{self.colorRGB & 0xFFFFFF:06x}"


class _Properties(Part):
    name: str | int | None = None
    classification: _Class | str | None = None


def _form(geometry: Any) -> str:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    return kind if kind in ("Polygon", "MultiPolygon") else "other"


_Geometry = Annotated[
    Annotated[_Polygon, Tag("Polygon")]
    | Annotated[_MultiPolygon, Tag("MultiPolygon")]
    | Annotated[_OtherGeometry, Tag("other")],
    Discriminator(_form),
]


class _Feature(Part):
    type: Literal["Feature"]
    geometry: _Geometry | None = None
    properties: _Properties | None = None


class _About(Part):
    """What we add: other programs ignore it."""

    shape: list[Annotated[int, Field(gt=0, lt=2**31)]] = Field(min_length=2, max_length=4)


class _Collection(Part):
    type: Literal["FeatureCollection"]
    features: list[_Feature]
    napari_unet: _About | None = None


def _form_of_file(content: Any) -> str:
    if isinstance(content, list):
        return "list"
    kind = content.get("type") if isinstance(content, dict) else None
    return "feature" if kind == "Feature" else "collection"


_FILE: TypeAdapter[_Collection | _Feature | list[_Feature]] = TypeAdapter(
    Annotated[
        Annotated[_Collection, Tag("collection")]
        | Annotated[_Feature, Tag("feature")]
        | Annotated[list[_Feature], Tag("list")],
        Discriminator(_form_of_file),
    ]
)


def read_geojson(path: Path) -> tuple[list[Drawn], tuple[int, ...] | None, tuple[str, ...]]:
    """Read the polygons of a GeoJSON file, the shape of the labels in one of ours, and notices.

    A polygon of several parts is one object; a notice says how many points and lines were left out.
    A file that is damaged or of another form raises FileProblemError.
    """
    content = read_json(path, _FILE, "GeoJSON")
    ours = content.napari_unet if isinstance(content, _Collection) else None
    features = content.features if isinstance(content, _Collection) else content
    features = [features] if isinstance(features, _Feature) else features
    drawn = [each for feature in features for each in _drawn(feature)]
    without = len(features) - len(drawn)
    text = f"Features without an area (points, lines): {without}; they are left out."
    return drawn, tuple(ours.shape) if ours else None, (text,) if without else ()


def _drawn(feature: _Feature) -> list[Drawn]:
    geometry = feature.geometry
    if geometry is None or isinstance(geometry, _OtherGeometry):
        return []
    polygons = [geometry.coordinates] if isinstance(geometry, _Polygon) else geometry.coordinates
    rings = [
        np.array([point[:2] for point in ring], np.float64)
        for polygon in polygons
        for ring in polygon
        if len(ring) > 2
    ]
    if not rings:
        return []
    about = feature.properties or _Properties()
    kind = about.classification
    plane = geometry.plane
    return [
        Drawn(
            (tuple(rings),),
            number=_number(about.name),
            name=kind if isinstance(kind, str) else kind.called if kind else "",
            colour=kind.colour if isinstance(kind, _Class) else "",
            z=plane.z if plane and plane.z >= 0 else None,
            t=plane.t if plane and plane.t >= 0 else None,
        )
    ]


def _number(name: str | int | None) -> int | None:
    text = "" if name is None else str(name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def geojson(
    labels: NDArray[np.integer[Any]],
    axes: str,
    names: Mapping[int, str] | None = None,
    colours: Mapping[int, str] | None = None,
    table: Columns | None = None,
    kinds: Mapping[tuple[int, int], tuple[str, str]] | None = None,
) -> bytes:
    """Return a GeoJSON file for QuPath: one detection for each object and plane.

    Outlines follow the edges of the pixels, so that they hold exactly these; holes and parts are
    kept. Labels are ``YX``, ``ZYX``, ``TYX`` or ``TZYX``, 0 background; colours are as ``#rrggbb``.
    The table of `measure_objects` becomes QuPath's measurements. `kinds` are name and colour (or
    "") of the class of each object, by number and frame.
    """
    measured = _measurements(table) if table else {}
    features = []
    for index in np.ndindex(*labels.shape[:-2]):
        plane = {"c": -1, "z": 0, "t": 0}
        plane |= {letter.lower(): at for letter, at in zip(axes, index, strict=False)}
        for number, rings in trace(labels[index]).items():
            about: dict[str, Any] = {"objectType": "detection", "name": str(number)}
            kind = (kinds or {}).get((number, plane["t"]))
            if kind is None and names and number in names:
                kind = names[number], (colours or {}).get(number, "")
            if kind is not None:
                about["classification"] = _classification(*kind)
            if (number, plane["t"]) in measured:
                about["measurements"] = measured[number, plane["t"]]
            geometry = _geometry(rings) | ({"plane": plane} if index else {})
            features.append({"type": "Feature", "geometry": geometry, "properties": about})
    about = {"shape": list(labels.shape)}
    return json_bytes({"type": "FeatureCollection", "napari_unet": about, "features": features})


def _geometry(rings: list[NDArray[np.int64]]) -> dict[str, Any]:
    polygons = [[[*ring.tolist(), ring[0].tolist()] for ring in part] for part in parts_of(rings)]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _classification(name: str, colour: str) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name}
    if colour:
        about["color"] = list(bytes.fromhex(colour.removeprefix("#")[:6]))
    return about


def _measurements(table: Columns) -> dict[tuple[int, int], dict[str, float]]:
    """Return what was measured of each object in each frame."""
    rows: dict[tuple[int, int], dict[str, float]] = {}
    frames = table.get("frame", np.zeros(len(table["index"]), int)).tolist()
    for row, key in enumerate(zip(table["index"].tolist(), frames, strict=True)):
        numbers = (name for name in table if name != "index" and table[name].dtype != object)
        values = {name: float(table[name][row]) for name in numbers}
        rows[key] = {name: value for name, value in values.items() if np.isfinite(value)}
    return rows
