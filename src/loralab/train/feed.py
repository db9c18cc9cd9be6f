"""What a run is shown when pictures are cut, mirrored, masked or captioned anew at each showing: batches of one resolution each.

In: training pictures. Out: an endless iterator of showings. Every draw has a seed of its own, from the path (stream, replicate, epoch,
showing), so that no draw depends on another one, on the batch, or on what a cache holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from loralab.bases import Base, embed_captions, encode_images, same_length, tokenise
from loralab.data.draws import draw_caption
from loralab.data.training_picture import TrainingPicture, make_showings
from loralab.pixels import pixels_of
from loralab.seeds import seed_for
from loralab.train.streams import sample_bucketed_order

#: what was encoded is kept up to this size, then forgotten; it is the same when it is encoded again
MOST_CACHED_BYTES = 512 << 20


@dataclass(frozen=True)
class Showing:
    """The pictures of one step of one run; ``weights`` and ``masks`` are None where all count alike."""

    latents: torch.Tensor  # (B, C, h, w)
    text: torch.Tensor  # embeddings (B, T, D), or tokens (B, T)
    weights: torch.Tensor | None = None  # (B,)
    masks: torch.Tensor | None = None  # (B, 1, h, w)
    from_base: torch.Tensor | None = None  # (B,) bool: whether the base's prediction is the target
    preserved: torch.Tensor | None = None  # as ``text``: captions under which the base's predictions are the target


@dataclass(frozen=True)
class Cut:
    """Where a picture is cut (left, top in px) and whether it is mirrored."""

    left: int
    top: int
    mirrored: bool


@dataclass
class Feed:
    """The pictures of an arm and what was encoded of them; shared by the arm's runs."""

    base: Base
    pictures: Sequence[TrainingPicture]
    trains_text: bool
    prior_loss_weight: float = 1.0
    clip_skip: int = 1
    preserve: Callable[[str], str] | None = None  # a caption -> the one under which the base's prediction is the target
    cached: dict[object, torch.Tensor] = field(default_factory=dict)
    cached_bytes: int = 0

    @property
    def picture_bytes(self) -> int:
        """How large the pictures are, before anything is made of them."""
        return sum(picture.image.nbytes for picture in self.pictures)

    def without_base(self) -> Feed:
        """Return the same feed for another process, which puts its own base in: nothing can be shown before."""
        return replace(self, base=None, cached={}, cached_bytes=0)  # type: ignore[arg-type]

    def showings(self, root_seed: int, replicate: int, batch: int, skip: int = 0) -> Iterator[Showing]:
        """Yield the showings of a replicate, ``batch`` pictures each, behind the first ``skip`` steps (of which nothing is encoded)."""
        shown = make_showings(self.pictures)
        buckets = [self.pictures[index].bucket for index in shown]
        for epoch, places in itertools.islice(sample_bucketed_order(root_seed, replicate, buckets, batch), skip, None):
            yield self._showing([(shown[place], (replicate, each, place)) for each, place in zip(epoch, places, strict=True)], root_seed)

    def _showing(self, chosen: Sequence[tuple[int, tuple[int, int, int]]], root_seed: int) -> Showing:
        cuts = [draw_cut(self.pictures[index], root_seed, path) for index, path in chosen]
        captions = [show_caption(self.pictures[index], root_seed, path) for index, path in chosen]
        pictures = [self.pictures[index] for index, _ in chosen]
        latents = torch.cat([self._latents(index, cut) for (index, _), cut in zip(chosen, cuts, strict=True)])
        weighted = any(picture.options.is_reg for picture in self.pictures) and self.prior_loss_weight != 1
        preserved = any(picture.options.diff_output_preservation for picture in self.pictures)
        masked = any(picture.mask is not None for picture in self.pictures)
        masks = [cut_mask(picture, cut, tuple(latents.shape[-2:])) for picture, cut in zip(pictures, cuts, strict=True)] if masked else []
        weights = torch.tensor([self.prior_loss_weight if picture.options.is_reg else 1.0 for picture in pictures])
        return Showing(
            latents, self._texts(captions), weights if weighted else None,
            torch.cat(masks) if masked else None,
            torch.tensor([picture.options.diff_output_preservation for picture in pictures]) if preserved else None,
            None if self.preserve is None else self._texts([self.preserve(caption) for caption in captions]),
        )  # fmt: skip

    def _latents(self, index: int, cut: Cut) -> torch.Tensor:
        if (index, cut) not in self.cached:
            pixels = cut_pixels(self.pictures[index], self.pictures[index].image, cut)
            alone = pixels_of(pixels[None])[0][None]  # laid out as one picture: torch's convolutions round those of a batch differently
            self._keep((index, cut), encode_images(self.base, alone).cpu())
        return self.cached[index, cut]

    def _texts(self, captions: Sequence[str]) -> torch.Tensor:
        """Return tokens or embeddings of captions; longer captions fill several chunks, and the shorter are repeated to their length."""
        found = [self._text(caption) for caption in captions]
        return torch.cat(found if self.trains_text else same_length(self.base, found))

    def _text(self, caption: str) -> torch.Tensor:
        if caption not in self.cached:
            embedded = None if self.trains_text else embed_captions(self.base, [caption], clip_skip=self.clip_skip).cpu()
            self._keep(caption, tokenise(self.base, [caption]) if embedded is None else embedded)
        return self.cached[caption]

    def _keep(self, key: object, value: torch.Tensor) -> None:
        if self.cached_bytes > MOST_CACHED_BYTES:
            self.cached.clear()
            self.cached_bytes = 0
        self.cached[key] = value
        self.cached_bytes += value.nbytes


def draw_cut(picture: TrainingPicture, root_seed: int, path: tuple[int, int, int]) -> Cut:
    """Return the cut of one showing: the centre, or a place drawn anew; mirrored in half of the showings where that is asked for."""
    spare_x, spare_y = (have - need for have, need in zip(picture.image.shape[1::-1], picture.bucket, strict=True))
    left, top = spare_x // 2, spare_y // 2
    if picture.options.random_crop:
        left = seed_for(root_seed, "train", "crops", "x", *path) % (spare_x + 1)
        top = seed_for(root_seed, "train", "crops", "y", *path) % (spare_y + 1)
    mirrored = picture.options.flip_aug and seed_for(root_seed, "train", "flips", *path) % 2 == 1
    return Cut(left, top, mirrored)


def show_caption(picture: TrainingPicture, root_seed: int, path: tuple[int, int, int]) -> str:
    """Return the caption of one showing; the path is (replicate, epoch, showing)."""
    seed = seed_for(root_seed, "train", "captions", *path)
    return draw_caption(picture.caption, picture.options, epoch=path[1], seed=seed)


def cut_pixels(picture: TrainingPicture, pixels: np.ndarray, cut: Cut) -> np.ndarray:
    """Return ``pixels`` (H, W, ...) of the picture as ``cut`` leaves them."""
    width, height = picture.bucket
    inner = pixels[cut.top : cut.top + height, cut.left : cut.left + width]
    return np.array(inner[:, ::-1] if cut.mirrored else inner)  # a copy: what was read from a file may not be writable


def cut_mask(picture: TrainingPicture, cut: Cut, size: tuple[int, ...]) -> torch.Tensor:
    """Return the mask (1, 1, h, w), 0 to 1: the mean over the pixels of each cell of the latents; ones where there is none."""
    if picture.mask is None:
        return torch.ones(1, 1, *size)
    inner = torch.from_numpy(cut_pixels(picture, picture.mask, cut)).to(torch.float32) / 255
    return torch.nn.functional.adaptive_avg_pool2d(inner[None, None], (size[0], size[1]))
