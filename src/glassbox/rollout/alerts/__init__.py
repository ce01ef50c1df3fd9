"""Alerts: rules over numbers, what fires and resolves, and messages that are not lost."""
