"""Bring descriptions of the formats 0.4 and 0.5 of bioimage.io to one form.

See :class:`napari_unet.exchange.package_text.PackageText`, which then checks it.
"""

from __future__ import annotations

from typing import Any

from napari_unet.errors import ModelFileError

_SPACE = "zyx"


def _only(tensors: Any, what: str) -> dict[str, Any]:
    needed = [each for each in tensors if not each.get("optional")]
    if len(needed) != 1:
        raise ModelFileError(
            f"The model has {len(needed)} {what}; one image in and one result out can be used."
        )
    result: dict[str, Any] = needed[0]
    return result


def of_04(content: dict[str, Any]) -> dict[str, Any]:
    """Read format 0.4."""
    image, result = _only(content["inputs"], "inputs"), _only(content["outputs"], "outputs")
    shape = image["shape"]
    smallest, steps = (
        (shape["min"], shape["step"]) if isinstance(shape, dict) else (shape, [0] * len(shape))
    )
    of_result = result.get("shape")
    if isinstance(of_result, dict):
        _check_same_size(zip(result["axes"], of_result["scale"], strict=True))
    halo = result.get("halo") or [0] * len(result["axes"])
    tests, answers = content.get("test_inputs"), content.get("test_outputs")
    return _facts(
        content,
        {
            "axes": [
                {"letter": letter, "smallest": size, "step": step}
                for letter, size, step in zip(image["axes"], smallest, steps, strict=True)
            ],
            "operations": image.get("preprocessing") or [],
            "test": tests[0] if tests else None,
        },
        {
            "axes": [
                {"letter": letter, "halo": around}
                for letter, around in zip(result["axes"], halo, strict=True)
            ],
            "operations": result.get("postprocessing") or [],
            "test": answers[0] if answers else None,
        },
        (),
    )


def _check_same_size(scales: Any) -> None:
    if any(letter in _SPACE and scale != 1 for letter, scale in scales):
        raise ModelFileError("The result of the model has pixels of another size than its image.")


def of_05(content: dict[str, Any]) -> dict[str, Any]:
    """Read format 0.5."""
    image, result = _only(content["inputs"], "inputs"), _only(content["outputs"], "outputs")
    axes = [_axis_05(axis) for axis in result["axes"]]
    _check_same_size((axis["letter"], axis.pop("scale")) for axis in axes)
    of_image = [_axis_05(axis) for axis in image["axes"]]
    for axis in of_image:
        axis.pop("scale")
    names = [name for axis in axes for name in axis["names"]]
    return _facts(
        content,
        {
            "axes": of_image,
            "operations": image.get("preprocessing") or [],
            "test": image.get("test_tensor"),
        },
        {
            "axes": axes,
            "operations": result.get("postprocessing") or [],
            "test": result.get("test_tensor"),
        },
        tuple(names),
    )


def _axis_05(axis: dict[str, Any]) -> dict[str, Any]:
    kind = axis["type"]
    letter = {"batch": "b", "channel": "c", "space": axis.get("id")}.get(kind)
    if letter is None:
        raise ModelFileError(f"The model has an axis of type {str(kind)[:40]!r}; not supported.")
    names = axis.get("channel_names") or []
    size = axis.get("size")
    smallest, step = size, 0
    if isinstance(size, dict):
        smallest, step = size.get("min"), size.get("step", 0)
    if kind == "channel":
        smallest = len(names) or (size if isinstance(size, int) else None)
    return {
        "letter": letter,
        "smallest": smallest,
        "step": step,
        "halo": axis.get("halo") or 0,
        "names": [str(name) for name in names],
        "scale": axis.get("scale", 1) if kind == "space" else 1,
    }


def _facts(
    content: dict[str, Any], image: dict[str, Any], result: dict[str, Any], names: tuple[str, ...]
) -> dict[str, Any]:
    weights = {
        kind: {"source": entry["source"], "sha256": entry.get("sha256"), "kwargs": _kwargs(entry)}
        for kind, entry in content["weights"].items()
        if isinstance(entry, dict)
    }
    tags = [str(tag) for tag in content.get("tags") or []]
    return {
        "name": str(content.get("name", "")) or "model",
        "format_version": str(content["format_version"]),
        "image": image,
        "result": result,
        "weights": weights,
        "labels": [each.lower() for each in (*tags, *names, str(content.get("name", "")))],
    }


def _kwargs(entry: dict[str, Any]) -> dict[str, Any]:
    architecture = entry.get("architecture")
    if isinstance(architecture, dict):
        entry = architecture
    kwargs = entry.get("kwargs")
    return kwargs if isinstance(kwargs, dict) else {}
