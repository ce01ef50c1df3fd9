"""A study as one HTML file: graph, paths, latents' cards, tests; nothing is fetched."""
