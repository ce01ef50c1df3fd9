"""The file from which the front end's types are made is the server's own description."""

from pathlib import Path

from glassbox.server.openapi import description

KEPT = Path(__file__).parents[2] / "web" / "openapi.json"


def test_the_kept_description_is_the_servers_own():
    assert KEPT.read_text(encoding="utf-8") == description(), "run 'make web'"
