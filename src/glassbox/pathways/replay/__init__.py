"""Changing a latent and measuring what follows: the check of every pathway by intervention."""
