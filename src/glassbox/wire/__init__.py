"""What travels over HTTP, as pydantic models: one file for each group of routes; no torch here."""
