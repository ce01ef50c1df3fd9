"""Glassbox where other platforms run it; thin, and imported only there."""
