"""How large an effect is and whether it stands out among many: sizes, permutations, nulls.

Knows groups, counts and tables; knows nothing of latents and of how trials were made.
"""
