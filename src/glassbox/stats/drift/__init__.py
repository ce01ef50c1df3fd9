"""What comes now against what came before: samples, stability, importance, seasons, quality.

Knows two windows of numbers; knows neither how they were cut nor what is done about it.
"""
