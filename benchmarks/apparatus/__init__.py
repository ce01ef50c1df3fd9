"""What the benchmarks measure with: the machine, a model, loads, a real server. No command."""
