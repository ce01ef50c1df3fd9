"""Commands about other machines: ``bundle``, ``deploy`` with a file for each target, and ``plan``.

A target's file is imported when it is asked for, so that none needs another's library.
"""
