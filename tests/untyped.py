"""What a script without types meets; the tests themselves check the types of every call."""

import json
import subprocess
import sys
from collections.abc import Sequence

_CHILD = """
import json, sys
from glassbox.errors import GlassboxError
setup, expressions = json.load(sys.stdin)
names = {}
exec(setup, names)
found = []
for each in expressions:
    try:
        found.append(["", repr(eval(each, names))])
    except GlassboxError as error:
        found.append([type(error).__name__, str(error)])
json.dump(found, sys.stdout)
"""


def outcomes(setup: str, expressions: Sequence[str]) -> list[tuple[str, str]]:
    """Return what came of each expression: the name of our error's class (none: "") and the text.

    An exception of any other kind fails the test that asks.
    """
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", _CHILD],
        input=json.dumps([setup, list(expressions)]),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    return [(kind, text) for kind, text in json.loads(child.stdout)]
