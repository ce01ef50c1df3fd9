"""Requests answered by the version in place, recorded, and copied to those that only see."""
