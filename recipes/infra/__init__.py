"""Checks of what lies in ``infra/`` and of what the package is made of; the tools for them."""
