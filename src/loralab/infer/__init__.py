"""From readings to findings, verdicts, and the effects that a budget can decide; numpy, scipy and polars only."""
