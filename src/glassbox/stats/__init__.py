"""Numbers in, numbers out: calibration, selective prediction and their uncertainty.

Import the module that holds the thing: ``binning``, ``calibration_error``,
``smooth_error``, ``bands``, ``corp``, ``proper_scoring``, ``ranking``, ``calibrators``,
``isotonic``, ``calibrator_choice``, ``feature_calibrator``, ``label_bias``, ``selective``,
``sample_size``, ``business``, ``consistency``, ``intervals``. Knows nothing of
models, texts, files or pictures.
"""
