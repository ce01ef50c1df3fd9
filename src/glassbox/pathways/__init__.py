"""Which SAE latents drive which, verified by replay, and which tokens fire them."""
