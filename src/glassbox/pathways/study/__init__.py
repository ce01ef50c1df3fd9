"""A finished patching study: read, audited whole, and the latents to go on with chosen."""
