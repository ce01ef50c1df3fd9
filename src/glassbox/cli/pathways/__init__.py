"""Commands about latents: ``pathways``, each step of a study, and ``sae``.

Know the configuration and what is finished; know nothing of how steps work.
"""
