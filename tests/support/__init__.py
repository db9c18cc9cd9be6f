"""What several suites use: simulated machines, small inputs, commands."""
