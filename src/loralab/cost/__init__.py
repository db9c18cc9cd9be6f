"""What a study costs on this machine before it is run: memory by a dry run, time by a short measurement."""
