"""Batches: every picture once, equal groups, no more than fit."""

from hypothesis import given, settings
from hypothesis import strategies as st

from loralab.sample import ImageBlock, plan_batches

blocks = st.lists(
    st.builds(
        ImageBlock,
        st.sampled_from([None, "a-r0", "b-r0", "a-r1"]),
        st.sampled_from(["", "monster", "red monster"]),
        st.sampled_from([0.5, 1.0]),
        st.sets(st.integers(0, 40), min_size=1, max_size=9).map(lambda seeds: tuple(sorted(seeds))),
    ),
    max_size=12,
    unique_by=lambda block: (block.adapter, block.prompt, block.strength),
)


@settings(max_examples=200, deadline=None)
@given(blocks, st.integers(1, 40))
def test_every_picture_once_in_groups_of_equal_length_that_fit(wanted: list[ImageBlock], size: int):
    batches = plan_batches(wanted, size)
    drawn = [(group, item) for batch in batches for group, items in zip(batch.groups, batch.items, strict=True) for item in items]
    asked = [((block.adapter, block.strength), (block.prompt, seed)) for block in wanted for seed in block.seeds]
    assert sorted(drawn, key=str) == sorted(asked, key=str)
    for batch in batches:
        assert len({len(items) for items in batch.items}) == 1
        assert batch.n_images <= size
    assert batches == plan_batches(wanted, size)


def test_batches_are_full_where_they_can_be():
    """Eight runs of one prompt and four seeds in batches of 32: one batch of eight groups of four."""
    batches = plan_batches([ImageBlock(f"a-r{r}", "x", 1.0, tuple(range(4 * r, 4 * r + 4))) for r in range(8)], 32)
    assert [(len(batch.groups), len(batch.items[0])) for batch in batches] == [(8, 4)]
