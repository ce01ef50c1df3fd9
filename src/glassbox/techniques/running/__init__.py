"""The desk beside a resident model: who is next, running it, and what is left of it."""
