"""Pictures to features whose distance says how alike they look: a user's own image encoder, petri's, or colours and layout.

Whether a picture is a copy is told by colours and layout wherever the encoder is petri's: it was taught what is shown, not where.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab

from loralab.errors import lab_error
from loralab.measure.companions import encoder_sha256

LAYOUT_PX = 16
BATCH_IMAGES = 16


@dataclass(frozen=True)
class Embedder:
    """``embed`` takes pictures (N, H, W, 3) uint8 to features (N, D) float64; likeness is their Euclidean distance.

    ``identity`` differs where features may differ: the hash of an encoder's files.
    """

    name: str
    identity: str
    says: str
    embed: Callable[[np.ndarray], np.ndarray]
    copies: Callable[[np.ndarray], np.ndarray] | None = None  # the same for telling copies, where that takes other features

    @property
    def embed_for_copies(self) -> Callable[[np.ndarray], np.ndarray]:
        """The features by whose distance copies are told."""
        return self.copies or self.embed


def load_embedder(folder: Path | None, base_name: str) -> Embedder:
    """Return the encoder in a local transformers folder (CLIP, SigLIP or DINOv2), or for None petri's own on petri, else colours."""
    if folder is not None:
        return _load_folder(folder)
    return _petri() if base_name == "petri" else LAYOUT


def embed_layout(images: np.ndarray) -> np.ndarray:
    """Return mean CIELAB colours of 16 x 16 cells, scaled so that a distance is a root mean square deltaE76."""
    small = [np.asarray(Image.fromarray(image).resize((LAYOUT_PX, LAYOUT_PX), Image.Resampling.BOX)) for image in images]
    lab = rgb2lab(np.stack(small))
    return np.asarray(lab.reshape(len(images), -1) / LAYOUT_PX, dtype=np.float64)


LAYOUT = Embedder(
    "colours and layout",
    f"mean CIELAB of {LAYOUT_PX} x {LAYOUT_PX} cells",
    f"mean colours of {LAYOUT_PX} x {LAYOUT_PX} cells; use --embedder DIR to judge likeness more as people do",
    embed_layout,
)


def _petri() -> Embedder:
    from loralab.petri.encoder import at_own_size, embed_pictures, load_encoder

    encoder = load_encoder()

    def embed(images: np.ndarray) -> np.ndarray:
        return embed_pictures(encoder, np.stack([at_own_size(image) for image in images]))

    says = "distance between unit image embeddings; copies by mean colours of 16 x 16 cells"
    return Embedder("petri's image-text encoder", f"{encoder_sha256()}, {LAYOUT.identity}", says, embed, embed_layout)


# --- encoders of transformers -------------------------------------------------------------------------------------------


def _pooled(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return CLIP's or SigLIP's image embedding, projected as for comparison with text."""
    found = model.get_image_features(pixel_values=pixels)
    return found if isinstance(found, torch.Tensor) else found.pooler_output


def _projected(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    embedded: torch.Tensor = model(pixel_values=pixels).image_embeds
    return embedded


def _class_token(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return the class token behind the last layer, DINOv2's descriptor of a whole picture."""
    state: torch.Tensor = model(pixel_values=pixels).last_hidden_state
    return state[:, 0]


#: model_type in config.json -> (class of transformers, how its features are read)
ENCODERS: dict[str, tuple[str, Callable[[Any, torch.Tensor], torch.Tensor]]] = {
    "clip": ("CLIPModel", _pooled),
    "clip_vision_model": ("CLIPVisionModelWithProjection", _projected),
    "siglip": ("SiglipModel", _pooled),
    "dinov2": ("Dinov2Model", _class_token),
}


def _load_folder(folder: Path) -> Embedder:
    import transformers

    config, preprocessing = _read_json(folder, "config.json"), _read_json(folder, "preprocessor_config.json")
    kind = str(config.get("model_type"))
    if kind not in ENCODERS:
        raise lab_error("model", f"an image encoder of type {kind!r} in {folder.name}", f"one of {', '.join(ENCODERS)}")
    if not any(folder.glob("*.safetensors")):
        raise lab_error(
            "model", f"no .safetensors weights in {folder.name}", "safetensors", "convert them: loralab never opens pickle files"
        )
    class_name, read = ENCODERS[kind]
    try:
        model = getattr(transformers, class_name).from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise lab_error(
            "model", f"{folder.name} cannot be loaded ({str(error)[:200]})", f"a {class_name} that transformers saved"
        ) from error

    @torch.inference_mode()
    def embed(images: np.ndarray) -> np.ndarray:
        pixels = torch.stack([_prepare(image, preprocessing) for image in images])
        found = torch.cat([read(model, pixels[i : i + BATCH_IMAGES]) for i in range(0, len(pixels), BATCH_IMAGES)])
        return np.asarray(torch.nn.functional.normalize(found.double(), dim=-1).numpy())

    return Embedder(f"{kind} ({folder.name})", _sha256_of(folder), "distance between unit image embeddings", embed)


def _sha256_of(folder: Path) -> str:
    """Return the hash of all that an encoder's features follow from."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*config.json")]):
        with file.open("rb") as stream:
            digest.update(file.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise lab_error("model", f"no readable {name} in {folder}", "a folder of an image encoder as transformers saves it") from error
    return found if isinstance(found, dict) else {}


def _prepare(image: np.ndarray, config: dict[str, Any]) -> torch.Tensor:
    """Return a picture (3, h, w) as the encoder's preprocessing asks: shorter side resized (bicubic), centre cropped, normalised.

    Written out here because transformers' fast image processors need torchvision.
    """
    size, crop = config.get("size", {}), config.get("crop_size", {})
    size = {"shortest_edge": size} if isinstance(size, int) else size
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    picture = Image.fromarray(image)
    if "shortest_edge" in size:
        ratio = int(size["shortest_edge"]) / min(picture.size)
        target = (round(picture.width * ratio), round(picture.height * ratio))
    else:
        target = (int(size.get("width", 224)), int(size.get("height", 224)))
    picture = picture.resize(target, Image.Resampling.BICUBIC)
    if config.get("do_center_crop", bool(crop)) and crop:
        width, height = int(crop["width"]), int(crop["height"])
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    pixels = np.asarray(picture, dtype=np.float32) / 255
    mean = np.asarray(config.get("image_mean", [0.5] * 3), dtype=np.float32)
    deviation = np.asarray(config.get("image_std", [0.5] * 3), dtype=np.float32)
    return torch.from_numpy((pixels - mean) / deviation).permute(2, 0, 1)
