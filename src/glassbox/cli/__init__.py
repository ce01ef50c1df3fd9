"""The command line: one file per command group; a command parses, makes one call and prints.

``main`` carries out what was typed, ``commands`` is the table of what can be, ``reference`` writes
the pages. Commands live in rooms named after what they front: ``confidence``, ``introspection``,
``techniques``, ``rollout``, ``pathways``, ``deploy``, ``server``; beside them ``machine`` and
``demo``. What all of them take is in ``arguments``, how all of them speak in ``terminal``.
"""
