"""Plans a study and carries it out: what is asked comes in, artefacts and a report come out."""
