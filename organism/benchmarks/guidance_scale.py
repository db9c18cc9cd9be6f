"""Claim: petri draws what its prompts say at the guidance that the shipped studies draw with as often as at any other.

    python -m organism.benchmarks.guidance_scale [--images 1008] [--scales 2 3 4 5] [--out docs/results/petri-guidance-scale.md]

The same prompts and seeds (prompts of the kinds of petri's fidelity table) are drawn at each scale; the last one is what the others are
held against, as in solver_steps.py.
"""

from __future__ import annotations

from organism.benchmarks.solver_steps import settings_parser, tell
from organism.sampling import AS_STUDIES


def main() -> None:
    """Draw, read, and write the table."""
    parser = settings_parser(__doc__, 1008)
    parser.add_argument("--scales", type=float, nargs="+", default=[2, 3, 4, 5])
    options = parser.parse_args()
    specs = {f"guidance {scale:g}": AS_STUDIES.model_copy(update={"guidance": scale}) for scale in options.scales}
    command = f"guidance_scale --images {options.images} --scales {' '.join(f'{scale:g}' for scale in options.scales)}"
    tell(options, specs, "Guidance on petri, by count", f"{AS_STUDIES.steps} steps of {AS_STUDIES.sampler}", command)


if __name__ == "__main__":
    main()
