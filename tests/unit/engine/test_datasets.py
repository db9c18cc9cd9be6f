"""The data stage: repeats of people's folders weigh in training as kohya lets them."""

import numpy as np

from loralab.data import Example
from loralab.stages.data import relative_repeats


def example(**factors: int) -> Example:
    return Example(np.zeros((64, 64, 3), np.uint8), "x", factors, "test")


def test_repeats_lose_their_common_factor_and_keep_their_ratio():
    assert relative_repeats([example(repeats=10), example(repeats=2)]) == [5, 1]
    assert relative_repeats([example(repeats=10), example(repeats=10)]) == [1, 1]
    assert relative_repeats([example(), example()]) == [1, 1]
