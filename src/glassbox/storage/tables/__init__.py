"""The tables of each concern, as the statements that make them."""
