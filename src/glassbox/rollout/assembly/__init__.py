"""All parts of the room put together, and what they show of themselves."""
