"""Commands about versions and what becomes of them: ``versions``, ``rollout``, ``audit``, and more.

Work on the database that a server may share; each has its command and, beside it, how that shows.
"""
