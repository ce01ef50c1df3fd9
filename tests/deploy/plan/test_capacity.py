"""The capacity file and the server that is made of it."""

import json

import numpy as np
import pytest

from glassbox.deploy.plan.capacity import (
    Capacity,
    Compared,
    Point,
    Work,
    read_capacity,
    write_capacity,
)
from glassbox.errors import CorruptArtifact, InvalidValue, UnknownName
from tests.deploy.plan.worlds import CAPACITY, VERIFY


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "capacity.json"
    write_capacity(path, CAPACITY)
    assert read_capacity(path) == CAPACITY


def test_a_server_goes_by_the_measured_rates_and_stays_at_the_last():
    server = CAPACITY.server(VERIFY)
    assert server.n_rows == CAPACITY.n_rows
    assert server.rates[[0, 1, 3, 7]] == pytest.approx([8, 9, 10, 10])
    assert server.rates[15] == pytest.approx(10)
    assert 9 < server.rates[2] < 10


def test_noise_that_makes_sharing_faster_is_taken_out():
    work = Work("odd", 10, 0, 0, (Point(1, 5.0), Point(2, 12.0), Point(4, 8.0)))
    server = CAPACITY.server(work)
    assert (np.diff(server.speeds) <= 0).all()
    assert server.speeds[0] == 5.0


def test_tokens_cost_what_the_measured_works_say_they_do():
    """Works made of known costs give them back, and any other work is their sum."""
    read_s, written_s = 0.002, 0.03
    works = {}
    for name, n_read, n_written in (("read", 60.0, 0.0), ("write", 20.0, 8.0)):
        rate = 1 / (n_read * read_s + n_written * written_s)
        works[name] = Work(name, n_read, n_written, 0, (Point(1, rate),))
    capacity = Capacity(**{**vars(CAPACITY), "works": works, "compared": ()})
    assert capacity.token_costs(1) == pytest.approx((read_s, written_s))
    made = capacity.work_of(100, 2)
    assert made.points[0].rate == pytest.approx(1 / (100 * read_s + 2 * written_s))


def test_one_work_cannot_tell_reading_from_writing():
    capacity = Capacity(**{**vars(CAPACITY), "works": {"verify": VERIFY}})
    with pytest.raises(InvalidValue, match="two or more"):
        capacity.work_of(10, 10)


def test_no_tokens_are_no_work():
    with pytest.raises(InvalidValue, match="tokens"):
        CAPACITY.work_of(0, 0)


def test_an_unknown_work_is_named_with_those_that_were_measured():
    with pytest.raises(UnknownName, match="verify, write 8"):
        CAPACITY.work("classify")


def test_errors_of_the_simulation_are_fractions_of_what_was_measured():
    compared = Compared("verify", 4, 100, 0.2, 0.4, 0.1, 0.5)
    assert compared.p50_error == pytest.approx(-0.5)
    assert compared.p99_error == pytest.approx(0.25)


def changed(path, change):
    write_capacity(path, CAPACITY)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("works"),
        lambda values: values.update(works=[]),
        lambda values: values.update(surprise=1),
        lambda values: values.update(n_rows=0),
        lambda values: values["works"][0].update(points=[]),
        lambda values: values["works"][0]["points"][0].update(rate=-1),
        lambda values: values["works"][0]["points"].reverse(),
        lambda values: values["works"][0].pop("n_read"),
        lambda values: values.update(works=3),
    ],
)
def test_a_file_that_is_no_capacity_file_says_so_and_what_writes_one(tmp_path, change):
    path = changed(tmp_path / "capacity.json", change)
    with pytest.raises(CorruptArtifact, match="--capacity FILE"):
        read_capacity(path)


def test_a_file_of_another_schema_is_refused(tmp_path):
    path = changed(tmp_path / "capacity.json", lambda values: values.update(schema_version=2))
    with pytest.raises(CorruptArtifact, match="schema_version is 2"):
        read_capacity(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CorruptArtifact, match="nowhere"):
        read_capacity(tmp_path / "nowhere.json")
