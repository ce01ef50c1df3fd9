"""The kinds of versions, each brought to life as a ``Predictor``."""
