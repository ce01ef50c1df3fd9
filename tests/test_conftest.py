"""The guards of this suite do guard."""

import os
import socket

import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

from glassbox.settings import load_settings
from glassbox.stats.calibration.error import ece


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
    with pytest.raises(TypeCheckError, match="correct"):
        ece(np.zeros(3), np.zeros(4, dtype=bool))
