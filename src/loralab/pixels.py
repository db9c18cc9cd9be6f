"""Pictures as torch has them: uint8 arrays in, tensors in [-1, 1] out, and back."""

from __future__ import annotations

import numpy as np
import torch


def pixels_of(images: np.ndarray) -> torch.Tensor:
    """Return (N, 3, H, W) float32 in [-1, 1] of images (N, H, W, 3) uint8."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1


def images_of(pixels: torch.Tensor) -> np.ndarray:
    """Return images (N, H, W, 3) uint8 of ``pixels`` (N, 3, H, W), those beyond [-1, 1] cut off."""
    images: np.ndarray = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return images
