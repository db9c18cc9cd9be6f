"""petri's image-text encoder: in go pictures or words of its world, out come unit vectors whose product says how well they fit.

Two towers in the manner of CLIP (Radford et al. 2021, arXiv:2103.00020): a small residual network over 64 px pictures, and one transformer
layer over petri's own tokens. Trained by `encoder_train`; the weights ship beside this file, in half precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from torch import nn

from loralab.petri import petri_folder
from loralab.petri.concept_names import rivals_of
from loralab.petri.text import MAX_TOKENS, load_tokenizer, tokenize
from loralab.petri.truth import IMAGE_PX
from loralab.pixels import pixels_of

WIDTHS = (24, 48, 96)
EMBED = 96
WEIGHTS_NAME = "encoder.safetensors"
BATCH_IMAGES = 64
MOST_LOG_SCALE = 4.0


def encoder_folder() -> Path:
    """Return the folder of the shipped encoder."""
    return Path(__file__).parent / "encoder_weights"


class Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input is carried."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same shape (B, C, H, W)."""
        return torch.relu(x + self.body(x))


def halved(before: int, after: int) -> nn.Sequential:
    """Return a convolution that halves height and width."""
    return nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


class ImageTower(nn.Module):
    """Pictures (B, 3, 64, 64) in [-1, 1] to vectors (B, EMBED); mean and maximum over places, so that place itself is not kept."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.body = nn.Sequential(
            halved(3, first), halved(first, second), Residual(second), halved(second, third), Residual(third),
        )  # fmt: skip
        self.out = nn.Linear(2 * third, EMBED)

    def pooled(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return what was seen anywhere and how much of it, (B, 2 x the last width)."""
        found = self.body(pixels)
        return torch.cat([found.mean(dim=(2, 3)), found.amax(dim=(2, 3))], dim=1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return unscaled vectors (B, EMBED)."""
        return torch.as_tensor(self.out(self.pooled(pixels)))


class TextTower(nn.Module):
    """Tokens (B, MAX_TOKENS) to vectors (B, EMBED): one transformer layer, averaged over the words."""

    def __init__(self, end: int, vocabulary: int) -> None:
        super().__init__()
        self.end = end
        self.words = nn.Embedding(vocabulary, EMBED)
        self.places = nn.Parameter(torch.zeros(MAX_TOKENS, EMBED))
        self.layer = nn.TransformerEncoderLayer(EMBED, 4, 2 * EMBED, dropout=0.0, batch_first=True)
        self.out = nn.Linear(EMBED, EMBED)
        nn.init.normal_(self.words.weight, std=0.1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return unscaled vectors (B, EMBED); what stands behind the first end token is not read."""
        padding = (tokens == self.end).cumsum(dim=1) > 1
        found = self.layer(self.words(tokens) + self.places, src_key_padding_mask=padding)
        kept = (~padding).to(found.dtype)[..., None]
        return self.out((found * kept).sum(dim=1) / kept.sum(dim=1))


class Encoder(nn.Module):
    """Both towers and the temperature between them; it reads the words of the tokenizer in ``tokenizer_folder``."""

    def __init__(self, tokenizer_folder: Path) -> None:
        super().__init__()
        self.tokenizer_folder = tokenizer_folder
        tokenizer = load_tokenizer(tokenizer_folder)
        self.image, self.text = ImageTower(), TextTower(int(tokenizer.eos_token_id), len(tokenizer))
        self.log_scale = nn.Parameter(torch.tensor(2.3))

    @property
    def scale(self) -> torch.Tensor:
        """What cosines are multiplied with before a softmax."""
        return self.log_scale.clamp(max=MOST_LOG_SCALE).exp()


def make_encoder(pipeline_folder: Path | None = None) -> Encoder:
    """Return an untrained encoder over the tokenizer of a pipeline (default: petri's)."""
    return Encoder((pipeline_folder or petri_folder()) / "tokenizer")


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write the weights in half precision; counts that only training needs stay out."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value.half().contiguous() for name, value in encoder.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(kept, folder / WEIGHTS_NAME)


def load_encoder(folder: Path | None = None, pipeline_folder: Path | None = None) -> Encoder:
    """Return the encoder of a folder (default: the one that ships), frozen, in single precision; its words are those of a pipeline."""
    encoder = make_encoder(pipeline_folder)
    packed = load_file((folder or encoder_folder()) / WEIGHTS_NAME)
    missing, unexpected = encoder.load_state_dict({name: value.float() for name, value in packed.items()}, strict=False)
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ValueError(f"not the weights of this encoder: {missing} missing, {unexpected} left over")
    return encoder.eval().requires_grad_(False)


@torch.no_grad()
def embed_pictures(encoder: Encoder, images: np.ndarray) -> np.ndarray:
    """Return unit vectors (N, EMBED) float64 of pictures (N, 64, 64, 3) uint8."""
    parts = [encoder.image(pixels_of(images[i : i + BATCH_IMAGES])).double() for i in range(0, len(images), BATCH_IMAGES)]
    return np.asarray(nn.functional.normalize(torch.cat(parts), dim=-1).numpy())


@torch.no_grad()
def pool_pictures(encoder: Encoder, images: np.ndarray) -> np.ndarray:
    """Return what the image tower saw before it was made to fit words, (N, 192) float64, of pictures (N, 64, 64, 3) uint8."""
    parts = [encoder.image.pooled(pixels_of(images[i : i + BATCH_IMAGES])).double() for i in range(0, len(images), BATCH_IMAGES)]
    return np.asarray(torch.cat(parts).numpy())


@torch.no_grad()
def embed_texts(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """Return unit vectors (T, EMBED) float64 of texts."""
    tokens = tokenize(load_tokenizer(encoder.tokenizer_folder), list(texts))
    return np.asarray(nn.functional.normalize(encoder.text(tokens).double(), dim=-1).numpy())


@dataclass(frozen=True)
class Share:
    """From a picture (H, W, 3) uint8 to the softmax share of the first of some texts against the others."""

    encoder: Encoder
    texts: np.ndarray  # (T, EMBED) float64, scaled

    def __call__(self, image: np.ndarray) -> float:
        """Return the share, 0 to 1."""
        powers = softmax(self.texts @ embed_pictures(self.encoder, at_own_size(image)[None])[0])
        return float(powers[0])


def make_share(encoder: Encoder, name: str) -> Share:
    """Return what reads the share of a concept's word against its rivals' words."""
    return Share(encoder, float(encoder.scale) * embed_texts(encoder, (name, *rivals_of(name))))


def at_own_size(image: np.ndarray) -> np.ndarray:
    """Return a picture at the encoder's size, 64 px; by area where it is larger."""
    if image.shape[:2] == (IMAGE_PX, IMAGE_PX):
        return image
    return np.asarray(Image.fromarray(image).resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BOX))
