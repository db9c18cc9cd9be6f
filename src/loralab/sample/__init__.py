"""Drawing pictures with a base and its LoRAs: blocks of a grid in, pictures at literal seeds out."""

from loralab.sample.batches import Batch, ImageBlock, plan_batches
from loralab.sample.kept import KeptBatches
from loralab.sample.noise import image_noise
from loralab.sample.parts import sample_batches
from loralab.sample.png import parameters_text, read_parameters, write_png
from loralab.sample.sampler import sample_batch

__all__ = [
    "Batch", "ImageBlock", "KeptBatches", "image_noise", "parameters_text", "plan_batches", "read_parameters", "sample_batch",
    "sample_batches", "write_png",
]  # fmt: skip
