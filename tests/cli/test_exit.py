"""How a command's process ends: at once, and without a word of its libraries."""

import subprocess
import sys

import pytest

ENDS = """
import gc, sys
from glassbox.cli.main import run
sys.modules.update(dict.fromkeys({names!r}))
sys.argv = ["glassbox", "--version"]
gc.freeze()
try:
    run()
finally:
    print(gc.get_freeze_count() > 0)
"""


@pytest.mark.parametrize(("names", "is_left"), [((), True), (("triton",), False)])
def test_what_is_imported_is_left_where_nobody_calls_it_a_leak(names, is_left):
    done = subprocess.run(
        [sys.executable, "-c", ENDS.format(names=names)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == str(is_left)
    assert done.stderr == ""
