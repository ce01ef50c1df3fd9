"""A run leaves nothing behind in a process that is its worker's alone."""

import json
import subprocess
import sys
from pathlib import Path

from glassbox.techniques.running.process_record import ProcessRecord
from tests.techniques.running.desk_world import answer

HARMS = {
    "working folder": "import tempfile; os.chdir(tempfile.mkdtemp())",
    "working folder removed": "import tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)",
    "environment variables": "os.environ['LEAK'] = '1'; os.environ.pop('PATH')",
    "mask of file modes": "os.umask(0)",
    "search path of modules": "sys.path = ['/leak']",
    "filters of warnings": "warnings.simplefilter('error')",
    "filters of warnings left": "warnings.catch_warnings().__enter__(); warnings.resetwarnings()",
    "limit of recursion": "sys.setrecursionlimit(500)",
    "switch interval of threads": "sys.setswitchinterval(0.5)",
    "garbage collection": "import gc; gc.disable()",
    "locale": "import locale; locale.setlocale(locale.LC_ALL, 'C')",
    "time limit of sockets": "import socket; socket.setdefaulttimeout(3)",
    "timers": "import signal; signal.alarm(1000)",
    "level below which nothing is logged": "logging.disable(logging.ERROR)",
    "how NumPy prints": "import numpy; numpy.set_printoptions(precision=2)",
    "how torch prints": "import torch; torch.set_printoptions(precision=2)",
    "logging": "logging.basicConfig(level=10); logging.getLogger('transformers').disabled = True",
}
"""What a run may do, by what is said of it."""

PROBE = """
import json, locale, logging, os, sys, warnings
import torch, transformers
from glassbox.techniques.running.process_record import ProcessRecord, _SETTINGS
if __name__ == "__main__":
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    record = ProcessRecord()
    before = [ask() for _, ask, _ in _SETTINGS]
    assert record.restore() == ()
    told = {}
    for name, harm in json.load(sys.stdin).items():
        exec(harm)
        told[name] = record.restore()
        assert [ask() for _, ask, _ in _SETTINGS] == before, name
        assert logging.root.level == 30 and not logging.getLogger("transformers").disabled
        assert record.restore() == (), name
    print(json.dumps(told))
"""


def test_what_a_run_sets_is_put_back_and_told():
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps(HARMS), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name, (note, *more) in json.loads(done.stdout).items():
        assert note.startswith(name.removesuffix(" removed").removesuffix(" left")), name
        assert "put back" in note
        assert not more, name


def test_what_cannot_be_put_back_is_said(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    record = ProcessRecord()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").rmdir()
    assert record.restore()[0].startswith("working folder could not be put back: ")


def moved(model, tokenizer):
    import os

    os.chdir("/")


def test_a_process_that_does_other_things_is_left_alone(desk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer(desk, moved)
    assert Path.cwd() == Path("/")
