"""One training picture, from where the generators have it too."""

from loralab.generators.example import Example, Factor

__all__ = ["Example", "Factor"]
