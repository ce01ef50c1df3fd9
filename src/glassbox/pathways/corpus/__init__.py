"""The texts of a study as tokens, what its latents do on them, and which of them to look at.

Import the module that holds the thing: ``documents``, ``building``, ``activations``,
``activation_pass``, ``contexts``, ``set_cover``. Only ``activation_pass`` needs torch.
"""
