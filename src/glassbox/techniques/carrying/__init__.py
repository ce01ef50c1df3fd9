"""Calls carried to a desk in another process as one packed value each way."""
