"""Who may come in, with what, and how often: keys, signatures, rates, names, the door itself.

Knows every request before its route does; knows no route and nothing of the model.
"""
