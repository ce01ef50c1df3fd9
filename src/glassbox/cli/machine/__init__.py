"""Commands about this machine: ``doctor``, what would fit, ``config``.

Know what is installed and set; load no model.
"""
