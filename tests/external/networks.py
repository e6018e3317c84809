"""Small U-Nets in the styles of other programs, with random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BATCH_NORM: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class DoubleConv(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
            nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.double_conv(features)  # type: ignore[no-any-return]


class Down(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(c_in, c_out))

    def forward(self, features: Tensor) -> Tensor:
        return self.maxpool_conv(features)  # type: ignore[no-any-return]


class Up(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(c_in, c_in // 2, 2, stride=2)
        self.conv = DoubleConv(c_in, c_out)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        return self.conv(torch.cat([skip, self.up(deep)], dim=1))  # type: ignore[no-any-return]


class IncDownUpOutc(nn.Module):
    """inc, down1, down2, up1, up2, outc, with batch normalisation."""

    def __init__(self, channels: int = 1, classes: int = 1, base: int = 4) -> None:
        super().__init__()
        self.inc = DoubleConv(channels, base)
        self.down1, self.down2 = Down(base, 2 * base), Down(2 * base, 4 * base)
        self.up1, self.up2 = Up(4 * base, 2 * base), Up(2 * base, base)
        self.outc = nn.Module()
        self.outc.conv = nn.Conv2d(base, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.inc(image)
        second = self.down1(first)
        features = self.up1(self.down2(second), second)
        return self.outc.conv(self.up2(features, first))  # type: ignore[no-any-return, operator]


class EncoderBaseDecoder(nn.Module):
    """encoder, base, decoder, upsamplers, out_conv, without normalisation."""

    def __init__(self, classes: int = 2, base: int = 4, ndim: int = 2) -> None:
        super().__init__()
        widths = [base, 2 * base, 4 * base]
        self.ndim = ndim
        self.encoder = nn.ModuleList([self._block(1, base), self._block(base, 2 * base)])
        self.base = self._block(2 * base, 4 * base)
        self.upsamplers = nn.ModuleList(
            [UP[ndim](deep, deep // 2, 2, stride=2) for deep in widths[:0:-1]]
        )
        self.decoder = nn.ModuleList([self._block(deep, deep // 2) for deep in widths[:0:-1]])
        self.out_conv = CONVOLUTION[ndim](base, classes, 1)

    def _block(self, c_in: int, c_out: int) -> nn.Sequential:
        conv = CONVOLUTION[self.ndim]
        return nn.Sequential(
            conv(c_in, c_out, 3, padding=1), nn.ReLU(), conv(c_out, c_out, 3, padding=1), nn.ReLU()
        )

    def forward(self, image: Tensor) -> Tensor:
        skips, features = [], image
        for block in self.encoder:
            skips.append(block(features))
            features = POOL[self.ndim](2)(skips[-1])
        features = self.base(features)
        for up, block in zip(self.upsamplers, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), up(features)], dim=1))
        return self.out_conv(features)  # type: ignore[no-any-return]


class _Single(nn.Module):
    def __init__(self, c_in: int, c_out: int, order: str, ndim: int) -> None:
        super().__init__()
        if order == "gcr":
            self.groupnorm = nn.GroupNorm(2 if c_in >= 2 else 1, c_in)
        self.conv = CONVOLUTION[ndim](c_in, c_out, 3, padding=1, bias=order == "cr")
        if order == "cbr":
            self.batchnorm = BATCH_NORM[ndim](c_out)
        self.order = order

    def forward(self, features: Tensor) -> Tensor:
        if self.order == "gcr":
            features = self.groupnorm(features)
        features = self.conv(features)
        if self.order == "cbr":
            features = self.batchnorm(features)
        return features.relu()


class _Module(nn.Module):
    def __init__(self, c_in: int, middle: int, c_out: int, order: str, ndim: int) -> None:
        super().__init__()
        self.basic_module = nn.Module()
        self.basic_module.SingleConv1 = _Single(c_in, middle, order, ndim)
        self.basic_module.SingleConv2 = _Single(middle, c_out, order, ndim)

    def forward(self, features: Tensor) -> Tensor:
        first, second = self.basic_module.SingleConv1, self.basic_module.SingleConv2
        return second(first(features))  # type: ignore[no-any-return, operator]


class EncodersDecoders(nn.Module):
    """encoders, decoders with nearest enlargement, final_conv."""

    def __init__(self, order: str = "cr", classes: int = 1, base: int = 4, ndim: int = 3) -> None:
        super().__init__()
        self.ndim = ndim
        self.encoders = nn.ModuleList(
            [_Module(1, base // 2, base, order, ndim), _Module(base, base, 2 * base, order, ndim)]
        )
        self.decoders = nn.ModuleList([_Module(3 * base, base, base, order, ndim)])
        self.final_conv = CONVOLUTION[ndim](base, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.encoders[0](image)
        deep = self.encoders[1](POOL[self.ndim](2)(first))
        enlarged = nn.functional.interpolate(deep, size=first.shape[2:], mode="nearest")
        return self.final_conv(  # type: ignore[no-any-return]
            self.decoders[0](torch.cat([first, enlarged], dim=1))
        )


def with_weights(network: nn.Module, seed: int = 0) -> nn.Module:
    """Draw weights, running statistics included, so that every layer matters."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.is_floating_point():
            spread = (2 / max(1, tensor[0].numel())) ** 0.5 if tensor.ndim > 1 else 0.2
            tensor.normal_(
                1 if "norm" in name and "weight" in name else 0, spread, generator=generator
            )
    return network.eval()
