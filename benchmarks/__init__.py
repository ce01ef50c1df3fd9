"""Measurements against named baselines; each prints ratios found in one run."""
