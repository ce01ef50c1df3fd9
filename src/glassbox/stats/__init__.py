"""Numbers in, numbers out: calibration, selective prediction, tests, and their uncertainty.

Import the module that holds the thing. The rooms: ``calibration`` measures, ``calibrators`` mend,
``selective`` keeps a promise, ``classification``, ``uncertainty``, ``sequential``, ``effects``,
``drift``; what all of them need stands here. Knows nothing of models, texts, files or pictures.
"""
