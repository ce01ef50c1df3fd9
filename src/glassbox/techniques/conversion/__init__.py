"""Methods of deployed classes rewritten as techniques."""
