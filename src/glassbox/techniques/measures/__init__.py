"""The arithmetic of the built-in techniques on any architecture of the table."""
