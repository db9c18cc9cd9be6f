"""Work and where it is done: tasks that make artefacts, the one place that carries them out, executors, and what work costs."""
