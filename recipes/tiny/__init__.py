"""The embedded world: a seeded generator, its dataset, its language model and their evaluation."""
