"""How many instances some traffic needs, what they cost, and what requests will feel."""
