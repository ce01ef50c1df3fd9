"""``python -m glassbox`` is the ``glassbox`` command."""

from glassbox.cli.main import run

run()
