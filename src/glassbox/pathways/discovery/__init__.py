"""Gradients of target latents with regard to every latent upstream of them."""
