"""Lets `python -m loralab` do what the `loralab` command does."""

from loralab.cli import main

main()
