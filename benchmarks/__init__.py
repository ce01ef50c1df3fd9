"""Measurements against named baselines, each a command; each prints ratios found in one run."""
