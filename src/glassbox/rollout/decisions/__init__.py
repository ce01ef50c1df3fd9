"""How a challenger becomes champion or does not: evidence, gates, verdicts, moves."""
