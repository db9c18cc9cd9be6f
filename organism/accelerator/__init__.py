"""The kit for a few minutes with an accelerator: is it right, how fast is it, and petri trained on it (docs/accelerator.md)."""
