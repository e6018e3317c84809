"""The device that tests of trainings and predictions compute on: the CPU, or that of a variable."""

from __future__ import annotations

import os

import torch

DEVICE_NAME = os.environ.get("NAPARI_UNET_TEST_DEVICE", "cpu")
DEVICE = torch.device(DEVICE_NAME)
