"""LoRA adapters: made, stacked over one frozen base, written to and read from the files that other tools use."""

from loralab.adapters.adapter import Adapter, adapter_sha256
from loralab.adapters.files import load_adapter, save_adapter
from loralab.adapters.layers import adapted_layers
from loralab.adapters.stack import AdapterStack, adapts_text
from loralab.adapters.starts import make_adapter

__all__ = ["Adapter", "AdapterStack", "adapted_layers", "adapter_sha256", "adapts_text", "load_adapter", "make_adapter", "save_adapter"]
