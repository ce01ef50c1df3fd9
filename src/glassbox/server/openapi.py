"""Writes the description of the whole HTTP API, from which the front end's types are made.

``python -m glassbox.server.openapi web/openapi.json``; a test compares that file with the app.
Loads no model.
"""

import json
import sys
from pathlib import Path

from glassbox.artifacts import write_bytes
from glassbox.server.app import create_app


def description() -> str:
    """Return the OpenAPI file as text, its keys sorted, so that equal routes give equal bytes."""
    return json.dumps(create_app().openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_bytes(Path(sys.argv[1]), description().encode())
