"""The whole server at Modal: one app, one class, one container or several.

``definition`` says what there will be, as values; ``app`` makes Modal's own objects of it;
``container`` is what runs inside; ``deploying`` sends it. Modal is imported inside the functions.
"""
