"""Recognise U-Nets of other programs by the names and shapes of their weights alone.

No source of theirs is read. What weights do not show (which part comes first where two are joined,
what enlarges, how many groups are normalised) is tried: the package's own test tensors decide.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any

import torch

from napari_unet.errors import ConfigError, ModelFileError
from napari_unet.model.config import UNetConfig
from napari_unet.model.external import depth_of
from napari_unet.model.record import LayersConfig
from napari_unet.model.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from napari_unet.model.record import Enlarging, ExternalConfig, Normalizing

_PARAMETER = r"(?P<of>weight|bias|running_mean|running_var)"
_WRAPPERS = re.compile(r"^(?:module|model|network|net|_orig_mod)\.")
_GROUPS = 8  # what is common, where nothing is said


def recognise(
    tensors: Mapping[str, Tensor], kwargs: Mapping[str, Any]
) -> tuple[str, dict[str, Tensor], tuple[LayersConfig, ...]]:
    """Find out which U-Net a state dict belongs to.

    Returns whose style it is, the weights under our names (see :mod:`napari_unet.model.external`),
    and the networks that they may be of, the likeliest first. Of `kwargs`, the authors' arguments,
    the number of groups is of use. No known network, or one that depends on the size of its image,
    raises ModelFileError.
    """
    tensors = _unwrapped(
        {name: each for name, each in tensors.items() if not name.endswith("num_batches_tracked")}
    )
    for family, rename in _FAMILIES.items():
        found = rename(tensors)
        if found and _is_whole(found):
            ndim = found["output.conv.weight"].ndim - 2
            _check_shapes(found, ndim)
            return (
                family,
                {name: tensor.detach().float().contiguous() for name, tensor in found.items()},
                tuple(_candidates(found, kwargs)),
            )
    names = ", ".join(sorted(tensors)[:3])
    raise ModelFileError(
        f"The weights are of no U-Net that is known here (they are called {names[:150]}, …), and "
        "the program that comes with them is not run. Ask its authors for the model as ONNX, or "
        "export it: torch.onnx.export(model, image, path)."
    )


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while tensors and all(_WRAPPERS.match(name) for name in tensors):
        tensors = {_WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    return tensors


def _renamed(
    tensors: Mapping[str, Tensor], patterns: Mapping[str, Callable[[re.Match[str]], str]]
) -> dict[str, Tensor]:
    """Rename all tensors, or none where one has a name that is not expected."""
    found = {}
    for name, tensor in tensors.items():
        for pattern, new_name in patterns.items():
            match = re.fullmatch(pattern + r"\." + _PARAMETER, name)
            if match:
                found[f"{new_name(match)}.{match['of']}"] = tensor
                break
        else:
            return {}
    return found


def _sequential(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the members of plain sequences their kinds: of 4 or 5 axes a convolution, else a norm.

    ``PATH#INDEX.weight`` becomes ``PATH.N.conv.weight`` or ``PATH.N.norm.weight``.
    """
    convolves: dict[str, dict[int, bool]] = {}  # by path and index
    parts = {name: re.fullmatch(r"(.*)#(\d+)\.(.*)", name) for name in tensors}
    for name, part in parts.items():
        if part:
            of_path = convolves.setdefault(part[1], {})
            index = int(part[2])
            of_path[index] = of_path.get(index, False) or tensors[name].ndim >= 4
    return {
        _member(part, convolves) if part else name: tensors[name] for name, part in parts.items()
    }


def _member(part: re.Match[str], convolves: Mapping[str, Mapping[int, bool]]) -> str:
    path, index, of = part[1], int(part[2]), part[3]
    members = convolves[path]
    before = sum(convolution for each, convolution in members.items() if each < index)
    if members[index]:
        return f"{path}.{before}.conv.{of}"
    return f"{path}.{before - members[min(members)]}.norm.{of}"  # after a convolution, or before it


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights of this program, in a package that it wrote."""
    return _sequential(
        _renamed(
            tensors,
            {
                r"contracting\.(\d)\.(\d)": lambda m: f"contracting.{m[1]}#{m[2]}",
                r"expanding\.(\d)\.(\d)": lambda m: f"expanding.{m[1]}#{m[2]}",
                r"up_convolutions\.(\d)": lambda m: f"up.{m[1]}.conv",
                r"output": lambda m: "output.conv",
            },
        )
    )


def _inc_down_up(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the style inc, down1, up1, outc."""
    depth = len({name.partition(".")[0] for name in tensors if name.startswith("down")})
    found = _renamed(
        tensors,
        {
            r"inc\.(?:double_conv|conv\.conv|conv)\.(\d)": lambda m: f"contracting.0#{m[1]}",
            r"down(\d)\.(?:maxpool_conv|mpconv)\.1\.(?:double_conv|conv)\.(\d)": (
                lambda m: f"contracting.{m[1]}#{m[2]}"
            ),
            r"up(\d)\.up": lambda m: f"up.{depth - int(m[1])}.conv",
            r"up(\d)\.conv\.(?:double_conv|conv)\.(\d)": (
                lambda m: f"expanding.{depth - int(m[1])}#{m[2]}"
            ),
            r"outc(?:\.conv)?": lambda m: "output.conv",
        },
    )
    if found and not any(name.startswith("up.") for name in found):
        raise ModelFileError(
            "The network enlarges with aligned corners (bilinear=True): what it says of a pixel "
            "depends on how large the image is, so tiles would not fit together. Use a model with "
            "up-convolutions."
        )
    return _sequential(found)


def _encoder_base_decoder(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the style encoder, base, decoder, of plain lists or with blocks and samplers."""
    levels = {
        int(match[1])
        for name in tensors
        if (match := re.match(r"encoder\.(?:blocks\.)?(\d+)\.", name))
    }
    depth = len(levels)
    block = r"(?:block\.|conv\.)?(\d+)"
    return _sequential(
        _renamed(
            tensors,
            {
                rf"encoder\.(?:blocks\.)?(\d+)\.{block}": lambda m: f"contracting.{m[1]}#{m[2]}",
                rf"base\.{block}": lambda m: f"contracting.{depth}#{m[1]}",
                r"(?:upsamplers|decoder\.samplers)\.(\d+)(?:\.conv)?": (
                    lambda m: f"up.{depth - 1 - int(m[1])}.conv"
                ),
                rf"decoder\.(?:blocks\.)?(\d+)\.{block}": (
                    lambda m: f"expanding.{depth - 1 - int(m[1])}#{m[2]}"
                ),
                r"out_conv": lambda m: "output.conv",
            },
        )
    )


def _encoders_decoders(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the style encoders.N.basic_module.SingleConv1."""
    depth = len({name.split(".")[1] for name in tensors if name.startswith("encoders.")}) - 1
    module = r"basic_module\.SingleConv(\d)\.(conv|batchnorm|groupnorm)"

    def member(path: str, number: str, kind: str) -> str:
        return f"{path}.{int(number) - 1}.{'conv' if kind == 'conv' else 'norm'}"

    return _renamed(
        tensors,
        {
            rf"encoders\.(\d+)\.{module}": lambda m: member(f"contracting.{m[1]}", m[2], m[3]),
            rf"decoders\.(\d+)\.{module}": (
                lambda m: member(f"expanding.{depth - 1 - int(m[1])}", m[2], m[3])
            ),
            r"final_conv": lambda m: "output.conv",
        },
    )


_FAMILIES: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "napari-unet-paint": _own,
    "inc/down/up/outc": _inc_down_up,
    "encoder/base/decoder": _encoder_base_decoder,
    "encoders/decoders": _encoders_decoders,
}


def _is_whole(weights: Mapping[str, Tensor]) -> bool:
    depth = depth_of(weights) if "contracting.0.0.conv.weight" in weights else 0
    return (
        1 <= depth <= 8
        and "output.conv.weight" in weights
        and all(f"expanding.{level}.0.conv.weight" in weights for level in range(depth))
    )


def _check_shapes(weights: Mapping[str, Tensor], ndim: int) -> None:
    """Refuse kernels that cannot be centred."""
    for name, tensor in weights.items():
        if not name.endswith("conv.weight"):
            continue
        enlarges = name.startswith("up.") and set(tensor.shape[2:]) == {2}
        odd = all(size % 2 for size in tensor.shape[2:])
        if tensor.ndim != ndim + 2 or ndim not in (2, 3) or not (enlarges or odd):
            raise ModelFileError(
                f"The weights {name[:80]} have the shape {tuple(tensor.shape)}, which no plain "
                "U-Net has. Ask for the model as ONNX."
            )


def _candidates(weights: Mapping[str, Tensor], kwargs: Mapping[str, Any]) -> Iterator[LayersConfig]:
    """List what the weights leave open, the likeliest first."""
    enlargings: tuple[Enlarging, ...] = ("nearest", "linear")
    up = weights.get("up.0.conv.weight")
    if up is not None and set(up.shape[2:]) == {2}:
        enlargings = ("transposed",)
    elif up is not None:
        enlargings = ("linear", "nearest")
    normalizations: tuple[Normalizing, ...] = ("none", "instance")
    if "contracting.0.0.norm.running_mean" in weights:
        normalizations = ("batch",)
    elif "contracting.0.1.norm.weight" in weights:
        normalizations = ("group",)
    norm = weights.get("contracting.0.0.norm.weight")
    convolution = weights["contracting.0.0.conv.weight"]
    orders: tuple[bool, ...] = (False, True)
    if norm is not None and convolution.shape[0] != convolution.shape[1]:
        orders = (len(norm) == convolution.shape[1],)
    if normalizations == ("none", "instance"):
        orders = (True, False)
    groups = kwargs.get("num_groups", _GROUPS)
    groups = groups if type(groups) is int and 1 <= groups <= 4096 else _GROUPS
    for normalization, first, enlarging, skip_first in product(
        normalizations, orders, enlargings, (True, False)
    ):
        if normalization == "none" and first:
            continue
        yield LayersConfig(normalization, groups, first, enlarging, skip_first)


# --- Weights of others as a U-Net of this program, where that is exactly the same function -------


def as_unet(config: ExternalConfig, weights: Mapping[str, Tensor]) -> UNet | None:
    """Return the same network as a U-Net of ours, or None where it is another function.

    One map of a sigmoid becomes two of a softmax: 0 for the background, the same for the objects.
    The weights of the engine "layers" are as :mod:`napari_unet.model.external` has them.
    """
    layers = config.layers
    alone = config.meaning == "foreground" and config.activation == "sigmoid"
    exclusive = config.meaning == "exclusive" and config.activation == "softmax"
    if layers is None or not (alone or exclusive) or layers.normalized_first:
        return None
    if layers.normalization not in ("none", "batch"):
        return None
    if layers.enlarging != "transposed" or not layers.skip_first:
        return None
    tensors = _state_dict(weights, layers.normalization == "batch")
    if alone:
        for name in ("output.weight", "output.bias"):
            tensors[name] = torch.cat([torch.zeros_like(tensors[name]), tensors[name]])
    first = weights["contracting.0.0.conv.weight"]
    try:
        shape = UNetConfig(
            in_channels=first.shape[1],
            out_channels=len(tensors["output.bias"]),
            ndim=first.ndim - 2,
            base_channels=first.shape[0],
            depth=depth_of(weights),
            padding="same",
            normalization=layers.normalization,
        )
    except ConfigError:
        return None
    with torch.device("meta"):
        network = UNet(shape)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if expected != {name: tuple(tensor.shape) for name, tensor in tensors.items()}:
        return None
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _state_dict(weights: Mapping[str, Tensor], with_norms: bool) -> dict[str, Tensor]:
    """Rename weights once more, with all that ours have and others may leave out."""
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        path, _, of = name.rpartition(".")
        parts = path.split(".")
        if parts[0] == "output":
            found[f"output.{of}"] = tensor
        elif parts[0] == "up":
            found[f"up_convolutions.{parts[1]}.{of}"] = tensor
        else:
            place = int(parts[2]) * (3 if with_norms else 2) + (parts[3] == "norm")
            if with_norms and parts[3] == "conv" and of == "bias":
                continue  # goes into the mean
            found[f"{parts[0]}.{parts[1]}.{place}.{of}"] = tensor
            if of == "running_mean":
                bias = weights.get(f"{'.'.join(parts[:3])}.conv.bias")
                if bias is not None:
                    found[f"{parts[0]}.{parts[1]}.{place}.{of}"] = tensor - bias
                counter = f"{parts[0]}.{parts[1]}.{place}.num_batches_tracked"
                found[counter] = torch.zeros((), dtype=torch.int64)
    for name in [name for name in found if name.endswith(".weight")]:
        missing = name.removesuffix("weight") + "bias"
        of_up, of_norm = name.startswith("up_"), found[name].ndim == 1
        needed = not with_norms or of_up or of_norm or name.startswith("output")
        if missing not in found and needed:
            found[missing] = torch.zeros(found[name].shape[1 if of_up else 0])
    return {name: tensor.contiguous() for name, tensor in found.items()}
