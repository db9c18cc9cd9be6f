"""What a study needs and what it found: its plan, the keys of all that is made, its rounds of work, its result; no torch."""
