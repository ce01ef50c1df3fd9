"""What routes answer with: texts, states, lens readings, what changes; whole or step by step.

Knows the wire and what is served; knows neither who may ask nor under which path.
"""
