"""Runs of functions on one server: on which terms, whose they are, what is kept of them.

Knows runs by ids of its own; knows neither who may ask nor how a function is run.
"""
