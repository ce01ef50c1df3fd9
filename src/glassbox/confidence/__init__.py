"""Room 1: labelled texts to label probabilities, calibrated, with a threshold that holds.

``pipeline`` is the main job, ``job`` what it is asked, ``labels`` which classes there are, ``run``
its folder, ``record`` what it writes of itself. The rooms: ``data``, ``asking``, ``evaluation``,
``tuning``, ``analysis``, ``reporting``.
"""
