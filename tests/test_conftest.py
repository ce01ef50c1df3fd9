"""The guards of this suite do guard."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError

from glassbox.settings import load_settings
from glassbox.stats.calibration.error import ece
from tests.typecheck import check, lean
from tests.waiting import until


def test_other_machines_cannot_be_reached():
    with pytest.raises(RuntimeError, match=r"no network.*'example\.org'"):
        socket.create_connection(("example.org", 80), timeout=1)
    with socket.socket() as plain, pytest.raises(RuntimeError, match="no network"):
        plain.connect(("192.0.2.1", 80))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain,
        pytest.raises(RuntimeError, match="no network"),
    ):
        plain.sendto(b"", ("192.0.2.1", 80))


def test_this_machine_can():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_the_environment_is_clean():
    assert not [name for name in os.environ if name.startswith("GLASSBOX_")]
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_annotations_are_checked():
    with pytest.raises(BeartypeCallHintViolation, match="overrides"):
        load_settings(np.zeros(3))


def test_sizes_of_arrays_are_compared():
    with pytest.raises(BeartypeCallHintViolation, match=r"(?s)correct.*is 4 .*value of 3"):
        ece(np.zeros(3), np.zeros(4, dtype=bool))


def test_the_size_of_a_result_is_compared_with_those_of_arguments():
    def first(x: Float[np.ndarray, "n"], n_rows: int) -> Float[np.ndarray, "n"]:
        return x[:n_rows]

    checked = lean(typechecker=check)(first)
    assert checked(np.ones(3), 3).size == 3
    with pytest.raises(BeartypeCallHintViolation, match=r"(?s)return.*is 2 .*value of 3"):
        checked(np.ones(3), 2)
    assert checked(np.ones(2), 2).size == 2, "each call compares its own"


def test_sizes_are_compared_in_a_dataclass_and_where_a_body_runs_later():
    @dataclasses.dataclass
    class Pair:
        x: Float[np.ndarray, "n"]
        y: Float[np.ndarray, "n"]

    def later(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> Iterator[float]:
        yield from x + y

    checked = lean(typechecker=check)
    assert list(checked(later)(np.ones(1), np.ones(1))) == [2.0]
    with pytest.raises(TypeCheckError, match="y"):
        checked(later)(np.ones(1), np.ones(2))
    with pytest.raises(BeartypeCallHintViolation, match=r"(?s)y.*is 2 .*value of 1"):
        checked(Pair)(np.ones(1), np.ones(2))


def test_the_clock_of_a_process_stands_still_while_it_is_held_up():
    code = (
        "import os, signal\n"
        "from tests.waiting import clock_of_this_process, until\n"
        "with clock_of_this_process() as clock:\n"
        "    until(lambda: clock() >= 0.1)\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    print(clock())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
        time.sleep(0.5)
        child.send_signal(signal.SIGCONT)
        assert child.stdout is not None
        assert 0.1 <= float(child.stdout.read()) < 0.4
