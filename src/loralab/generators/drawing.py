"""How every generator draws: large and averaged down, with widths and blur that grow with the picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

#: pictures are drawn this much larger and averaged down
SUPERSAMPLING = 8
#: widths and blur are stated for a picture of this size and grow with it
REFERENCE_PX = 64


def finish(image: Image.Image, size_px: int, blur: float) -> np.ndarray:
    """Return a supersampled drawing as (size_px, size_px, 3) uint8, blurred by ``blur`` px of a 64 px picture."""
    small = image.resize((size_px, size_px), Image.Resampling.BOX)
    if blur > 0:
        small = small.filter(ImageFilter.GaussianBlur(blur * size_px / REFERENCE_PX))
    return np.asarray(small)
