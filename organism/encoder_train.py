"""Training of the image-text encoder: in go sprites and petri's autoencoder, out come weights; resumable, ends on time.

Its pictures have seeds of their own, which neither petri's training nor its fidelity table uses. Every picture is there as drawn and
as petri's autoencoder gives it back: what the encoder is for is reading what petri draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import CLIPTokenizer

from loralab.petri.concept_names import GROUP, NAMES, OTHERS
from loralab.petri.draw import make_picture
from loralab.petri.encoder import Encoder, embed_pictures, embed_texts, make_share
from loralab.petri.sprites import Sprites
from loralab.petri.text import tokenize
from loralab.petri.truth import Truth
from loralab.petri.words import CONCEPTS, CREATURES, SHAPES
from loralab.pixels import pixels_of
from organism.captions import make_captions
from organism.clock import Deadline, save_whole, warm_cosine
from organism.fidelity import RoundTrip, Share
from organism.pool import SHARD, load_captions, load_pictures, save_shard
from organism.world import SMALL, sample_truth

#: the first shard of the encoder's pool: seeds 61,440,000 on
FIRST_SHARD = 15_000
#: pictures that measure it: seeds from here on
HELD_OUT_SEED = 70_000_000
LOSSES_A_LINE = 20
DECODED_PART = 512
#: what cross-entropy leaves out
IGNORED = -100


@dataclass(frozen=True)
class EncoderRecipe:
    """The numbers of a training run."""

    batch: int = 128
    lr: float = 2e-3
    warmup_examples: int = 6400
    weight_decay: float = 0.02
    share_decoded: float = 0.6  # how often a picture is shown as the autoencoder gives it back
    most_blur_px: float = 1.2
    most_noise: float = 0.06  # standard deviation, of pixels in [-1, 1]
    most_shift_px: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Pool:
    """Training examples in memory."""

    drawn: np.ndarray  # uint8 (N, 64, 64, 3)
    decoded: np.ndarray  # uint8 (D, 64, 64, 3): the first D of them behind the autoencoder
    tokens: torch.Tensor  # (N, captions, MAX_TOKENS)
    nouns: torch.Tensor  # (N,), the number in NAMES of what is shown; IGNORED where two different things are


def save_decoded(pool: Path, n_decoded: int, round_trip: RoundTrip) -> np.ndarray:
    """Return the first pictures of the pool as the autoencoder gives them back, kept beside it in parts of DECODED_PART."""
    pictures, parts = load_pictures(pool), []
    for start in range(0, n_decoded, DECODED_PART):
        path = pool / f"decoded-{start:06d}.npy"
        if not path.exists():
            unfinished = path.with_suffix(".part")
            with unfinished.open("wb") as file:
                np.save(file, round_trip(pictures[start : min(start + DECODED_PART, n_decoded)]))
            unfinished.rename(path)
        parts.append(np.load(path))
    return np.concatenate(parts)


def make_pool(sprites: Path, folder: Path, n_shards: int, n_decoded: int, round_trip: RoundTrip, tokenizer: CLIPTokenizer) -> Pool:
    """Return the encoder's pool of n_shards * SHARD pictures, the first n_decoded of them decoded too; made where not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(FIRST_SHARD, FIRST_SHARD + n_shards):
        save_shard(sprites, folder, index)
    captions = load_captions(folder)
    tokens = tokenize(tokenizer, [caption for row in captions for caption in row]).unflatten(0, (len(captions), -1))
    decoded = save_decoded(folder, n_decoded, round_trip)
    return Pool(load_pictures(folder), decoded, tokens, label_pool(folder))


def label_pool(folder: Path) -> torch.Tensor:
    """Return the number in NAMES of what each picture of the pool shows, (N,); IGNORED where it shows two different things."""
    shards = [int(path.stem) for path in sorted(folder.glob("[0-9]*.npy"))]
    seeds = (seed for shard in shards for seed in range(shard * SHARD, (shard + 1) * SHARD))
    return torch.tensor([number_of(sample_truth(seed, SMALL)) for seed in seeds])


def number_of(truth: Truth) -> int:
    """Return the number in NAMES of a picture's noun."""
    nouns = {thing.noun for thing in truth.things}
    return NAMES.index(nouns.pop()) if len(nouns) == 1 else IGNORED


@dataclass(frozen=True)
class Examples:
    """One batch."""

    pixels: torch.Tensor  # (B, 3, 64, 64) in [-1, 1]
    tokens: torch.Tensor  # (B, MAX_TOKENS), one caption each
    nouns: torch.Tensor  # (B,)


class EncoderState:
    """The encoder and its optimiser: all that a resumed run needs."""

    def __init__(self, encoder: Encoder, recipe: EncoderRecipe) -> None:
        self.encoder = encoder.train()
        self.optimiser = torch.optim.AdamW(encoder.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
        self.examples = 0
        self.spent_seconds = 0.0

    def save(self, path: Path) -> None:
        """Write everything; an older file is replaced only when the new one is complete."""
        packed = {"encoder": self.encoder.state_dict(), "optimiser": self.optimiser.state_dict()}
        save_whole(packed | {"counts": (self.examples, self.spent_seconds)}, path)

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        packed = torch.load(path)
        self.encoder.load_state_dict(packed["encoder"])
        self.optimiser.load_state_dict(packed["optimiser"])
        self.examples, self.spent_seconds = packed["counts"]


def sample_examples(pool: Pool, rng: np.random.Generator, recipe: EncoderRecipe) -> Examples:
    """Return pictures drawn without replacement, a part of them from those that went through the autoencoder, disturbed."""
    n_decoded = round(recipe.share_decoded * recipe.batch)
    decoded = rng.choice(len(pool.decoded), size=n_decoded, replace=False)
    rows = np.concatenate([decoded, rng.choice(len(pool.drawn), size=recipe.batch - n_decoded, replace=False)])
    images = np.concatenate([pool.decoded[decoded], pool.drawn[rows[n_decoded:]]])
    order = rng.permutation(recipe.batch)
    says = torch.from_numpy(rng.integers(pool.tokens.shape[1], size=recipe.batch))
    chosen = torch.from_numpy(rows[order])
    return Examples(disturb(pixels_of(images[order]), rng, recipe), pool.tokens[chosen, says], pool.nouns[chosen])


def disturb(pixels: torch.Tensor, rng: np.random.Generator, recipe: EncoderRecipe) -> torch.Tensor:
    """Return the pictures (B, 3, H, W) of a batch mirrored or not; each quarter is blurred, moved and given noise by amounts of its own."""
    mirrored = torch.from_numpy(rng.random(len(pixels)) < 0.5)[:, None, None, None]
    pixels = torch.where(mirrored, pixels.flip(-1), pixels)
    parts = []
    for part in pixels.chunk(4):
        dy, dx = (int(v) for v in rng.integers(-recipe.most_shift_px, recipe.most_shift_px + 1, size=2))
        moved = shifted(blurred(part, float(rng.uniform(0, recipe.most_blur_px))), dy, dx)
        noise = torch.from_numpy(rng.standard_normal(moved.shape, dtype=np.float32))
        parts.append(moved + float(rng.uniform(0, recipe.most_noise)) * noise)
    return torch.cat(parts)


def blurred(pixels: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Return pictures behind a Gaussian blur; below .3 px as they are."""
    if sigma_px < 0.3:
        return pixels
    reach = torch.arange(-4, 5, dtype=torch.float32)
    kernel = torch.softmax(-(reach**2) / (2 * sigma_px**2), dim=0)
    across = nn.functional.conv2d(nn.functional.pad(pixels, (4, 4, 0, 0), "replicate"), kernel.expand(3, 1, 1, 9), groups=3)
    return nn.functional.conv2d(nn.functional.pad(across, (0, 0, 4, 4), "replicate"), kernel[:, None].expand(3, 1, 9, 1), groups=3)


def shifted(pixels: torch.Tensor, dy: int, dx: int) -> torch.Tensor:
    """Return pictures moved by whole pixels; the border is repeated."""
    reach = max(abs(dy), abs(dx), 1)
    padded = nn.functional.pad(pixels, (reach,) * 4, "replicate")
    height, width = pixels.shape[2:]
    return padded[:, :, reach - dy : reach - dy + height, reach - dx : reach - dx + width]


def contrastive_loss(logits: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of (B, B) logits both ways (van den Oord et al. 2018, eq. 4; CLIP, figure 3)."""
    own = torch.arange(len(logits))
    return 0.5 * (nn.functional.cross_entropy(logits, own) + nn.functional.cross_entropy(logits.T, own))


def loss_of(encoder: Encoder, examples: Examples, words: torch.Tensor) -> torch.Tensor:
    """Return the contrastive loss over captions plus that over the words of all nouns, and over `monster` and all that is none.

    ``words`` (len(NAMES), MAX_TOKENS) are captions of one word each: of these it is known which are true of a picture and which are not.
    """
    image = nn.functional.normalize(encoder.image(examples.pixels), dim=-1)
    text = nn.functional.normalize(encoder.text(torch.cat([examples.tokens, words])), dim=-1)
    logits = encoder.scale * image @ text.T
    captions, nouns = logits[:, : len(image)], logits[:, len(image) :]
    kinds = [NAMES.index(name) for name in (GROUP, *OTHERS)]
    kind_of = torch.tensor([kinds.index(0 if name in CREATURES else k) for k, name in enumerate(NAMES)])
    named = examples.nouns != IGNORED
    one_word = nn.functional.cross_entropy(nouns[named, 1:], examples.nouns[named] - 1)
    grouped = nn.functional.cross_entropy(nouns[named][:, kinds], kind_of[examples.nouns[named]])
    return contrastive_loss(captions) + one_word + grouped


def train_encoder(state: EncoderState, pool: Pool, words: torch.Tensor, recipe: EncoderRecipe, deadline: Deadline) -> Iterator[float]:
    """Train in place until the deadline; yields the mean loss of every 20 steps."""
    losses: list[float] = []
    while (fraction := deadline.fraction_at(state.examples)) < 1:
        lr = recipe.lr * warm_cosine(fraction, state.examples + recipe.batch, recipe.warmup_examples)
        for group in state.optimiser.param_groups:
            group["lr"] = lr
        rng = np.random.Generator(np.random.Philox(key=[recipe.seed, state.examples]))
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(state.encoder, sample_examples(pool, rng, recipe), words)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        state.optimiser.step()
        state.examples += recipe.batch
        state.spent_seconds = deadline.spent_seconds
        losses.append(loss.item())
        if len(losses) == LOSSES_A_LINE:
            yield float(np.mean(losses))
            losses.clear()


# --- measuring ----------------------------------------------------------------------------------------------------------


def held_out_truths(n: int, first_seed: int = HELD_OUT_SEED, concepts: bool = True) -> list[Truth]:
    """Return n truths of one object each, of seeds from ``first_seed`` on; of concepts or of drawn shapes."""
    found: list[Truth] = []
    seed = first_seed
    while len(found) < n:
        truth = sample_truth(seed, SMALL)
        seed += 1
        if truth.count == 1 and truth.things[0].is_shape != concepts:
            found.append(truth)
    return found


def read_names(encoder: Encoder, images: np.ndarray, among: tuple[str, ...]) -> list[str]:
    """Return the best fitting of ``among`` for each picture."""
    fit = embed_pictures(encoder, images) @ embed_texts(encoder, among).T
    return [among[int(i)] for i in fit.argmax(axis=1)]


def count_right(encoder: Encoder, sprites: Sprites, n_images: int, round_trip: RoundTrip | None) -> list[Share]:
    """Return counts over held-out pictures of one object each, two thirds of concepts and a third of shapes."""
    n = 2 * n_images // 3
    truths = [*held_out_truths(n), *held_out_truths(n_images - n, concepts=False)]
    images = np.stack([make_picture(truth, sprites) for truth in truths])
    images = images if round_trip is None else round_trip(images)
    nouns = [truth.things[0].noun for truth in truths]
    share = make_share(encoder, GROUP)
    taken_for_monster = np.array([share(image) > 0.5 for image in images])
    is_monster = np.array([noun in CREATURES for noun in nouns])
    named = np.array([found == noun for found, noun in zip(_names_read(encoder, images, n), nouns, strict=True)])
    return [
        _count("concept, one of 30", named[:n]),
        _count("drawn shape, one of 9", named[n:]),
        _count("a creature is taken for a monster", taken_for_monster[is_monster]),
        _count("what is none is not", ~taken_for_monster[~is_monster]),
        _count("its own caption fits best among 100", captions_found(encoder, images, truths)),
    ]


def _names_read(encoder: Encoder, images: np.ndarray, n_concepts: int) -> list[str]:
    return [
        *read_names(encoder, images[:n_concepts], tuple(CONCEPTS)),
        *read_names(encoder, images[n_concepts:], SHAPES),
    ]  # fmt: skip


def _count(question: str, right: np.ndarray) -> Share:
    return Share(question, int(right.sum()), len(right))


def captions_found(encoder: Encoder, images: np.ndarray, truths: list[Truth], among: int = 100) -> np.ndarray:
    """Return whether each picture's longest caption fits it best among those of its hundred; equal captions count as one."""
    captions = [max(make_captions(truth), key=len) for truth in truths]
    right = []
    for start in range(0, len(images) - among + 1, among):
        own = captions[start : start + among]
        fit = embed_pictures(encoder, images[start : start + among]) @ embed_texts(encoder, own).T
        right += [own[int(k)] == own[i] for i, k in enumerate(fit.argmax(axis=1))]
    return np.array(right)


def write_counts(columns: Mapping[str, list[Share]]) -> str:
    """Return one row a question as a Markdown table, with a share and its 95 % interval (Wilson 1927) for each way of seeing."""
    lines = [f"| question | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for rows in zip(*columns.values(), strict=True):
        cells = [f"{row.yes} / {row.n} = {row.yes / row.n:.3f} ({row.interval[0]:.3f}-{row.interval[1]:.3f})" for row in rows]
        lines.append(f"| {rows[0].question} | {' | '.join(cells)} |")
    return "\n".join(lines)
