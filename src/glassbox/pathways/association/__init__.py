"""Which tokens fire which latents: counts, tests that respect that texts hang together, contexts.

Import the module that holds the thing: ``associating`` does all of it, ``top_contexts`` shows
where a latent fires most, ``tables`` writes and reads the files. No torch.
"""
