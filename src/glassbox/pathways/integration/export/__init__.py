"""Results in the files that other people's viewers read."""
