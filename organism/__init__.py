"""How petri was made and measured: the world, the trainings, the counts; no part of the installed package, run from the root."""
