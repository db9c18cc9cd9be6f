"""loralab: the laboratory for LoRA training."""

__version__ = "0.1.0"
