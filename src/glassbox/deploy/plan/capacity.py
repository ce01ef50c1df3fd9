"""What one server was measured to do: ``capacity.json``, and the server model made of it.

``python -m benchmarks.load --capacity FILE`` measures a real server over HTTP and writes the file:
for each kind of work how many requests a second it finishes with so many always in flight. Knows
one server; knows nothing of traffic, of fleets or of money.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.optimize import nnls

from glassbox.artifacts import read_object, write_json
from glassbox.deploy.plan.simulator import ServerModel
from glassbox.errors import CorruptArtifact, InvalidValue, UnknownName

SCHEMA_VERSION: Final = 1

TOKENS: Final = "tokens"
"""Name of the work that is made from the others by what a token costs."""


@dataclass(frozen=True)
class Point:
    """What a server did with so many requests always in flight."""

    in_flight: int
    """How many, 1 or more."""
    rate: float
    """Requests finished in a second, above 0."""

    def __post_init__(self) -> None:
        if self.in_flight < 1:
            raise InvalidValue("in_flight", self.in_flight, "1 or more")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InvalidValue("rate", self.rate, "requests a second, above 0")


@dataclass(frozen=True)
class Work:
    """One kind of request, and how a server took it."""

    name: str
    """As the benchmark calls it, ``write 8``."""
    n_read: float
    """Tokens of a request that are read, prompt and given response, on average."""
    n_written: float
    """Tokens that are written, on average."""
    size_cv: float
    """Coefficient of variation of its tokens: how unequal requests are, 0 or more."""
    points: tuple[Point, ...]
    """By ascending number in flight."""

    def __post_init__(self) -> None:
        counts = [point.in_flight for point in self.points]
        if not counts or counts != sorted(set(counts)) or counts[0] != 1:
            raise InvalidValue("points", counts, "ascending numbers in flight, 1 being the first")
        for name in ("n_read", "n_written", "size_cv"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InvalidValue(name, getattr(self, name), "0 or more")
        if self.n_read + self.n_written <= 0:
            raise InvalidValue("tokens", 0, "some that are read or written")

    @property
    def peak_rate(self) -> float:
        """Most requests a second, whatever the number in flight."""
        return max(point.rate for point in self.points)


@dataclass(frozen=True)
class Compared:
    """What requests felt under arrivals at random, beside what the simulation says."""

    work: str
    """Kind of request."""
    rate: float
    """Requests a second that came."""
    n: int
    """How many."""
    measured_p50_s: float
    """Median of the real server."""
    measured_p99_s: float
    """99th percentile of the real server."""
    simulated_p50_s: float
    """Median of the simulated one, at the same arrivals."""
    simulated_p99_s: float
    """99th percentile of the simulated one."""

    @property
    def p50_error(self) -> float:
        """How far the simulated median is off, as a fraction of the measured one."""
        return self.simulated_p50_s / self.measured_p50_s - 1

    @property
    def p99_error(self) -> float:
        """How far the simulated 99th percentile is off, as a fraction."""
        return self.simulated_p99_s / self.measured_p99_s - 1


@dataclass(frozen=True)
class Capacity:
    """One server on one machine."""

    instance: str
    """What it ran on: an instance type where prices are known by it, else words."""
    machine: str
    """Processor or GPU, threads, versions: as the benchmark describes it."""
    model: str
    """Name of the model."""
    n_parameters: int
    """Its size."""
    dtype: str
    """Its number format."""
    measured: str
    """Date, ``YYYY-MM-DD``."""
    command: str
    """What was run."""
    n_rows: int
    """Requests that the server works on at a time."""
    n_waiting: int
    """Requests that may wait beside them."""
    works: Mapping[str, Work]
    """By name."""
    compared: tuple[Compared, ...] = ()
    """Simulation against the real server."""

    def work(self, name: str) -> Work:
        """Return one kind of work.

        Raises:
            UnknownName: It was not measured.
        """
        if name not in self.works:
            raise UnknownName("measured work", name, self.works)
        return self.works[name]

    def work_of(self, n_read: float, n_written: float, *, size_cv: float = 0.0) -> Work:
        """Return work of so many tokens, by what each token read and written was seen to cost.

        Args:
            n_read: Tokens of a request that are read.
            n_written: Tokens that are written.
            size_cv: How unequal requests are.

        Raises:
            InvalidValue: The file cannot tell the two costs apart, or what is asked for costs
                nothing by it.
        """
        points = []
        for count in sorted(self._counts()):
            read_s, written_s = self.token_costs(count)
            seconds = read_s * n_read + written_s * n_written
            if not seconds > 0:
                raise InvalidValue(
                    "tokens", (n_read, n_written), "a kind of token whose cost was measured"
                )
            points.append(Point(count, 1 / seconds))
        return Work(TOKENS, n_read, n_written, size_cv, tuple(points))

    def token_costs(self, in_flight: int) -> tuple[float, float]:
        """Return the seconds of the server that a token read costs, and one written.

        The seconds that each kind of work takes are fitted as a sum of so much for a token read
        and so much for a token written, neither below 0, by least relative squares.

        Args:
            in_flight: Requests under way, one of the measured numbers.

        Raises:
            InvalidValue: Fewer than two kinds of work were measured there.
        """
        works = [
            (work, point)
            for work in self.works.values()
            for point in work.points
            if point.in_flight == in_flight
        ]
        if len(works) < 2:
            raise InvalidValue(
                "measured works", len(works), "two or more, to tell reading from writing"
            )
        # In units of what each took: relative errors count, not those of the longest alone.
        tokens = np.array([(work.n_read, work.n_written) for work, _ in works])
        rates = np.array([point.rate for _, point in works])
        (read_s, written_s), _ = nnls(tokens * rates[:, None], np.ones(len(works)))
        return float(read_s), float(written_s)

    def _counts(self) -> set[int]:
        """Return the numbers in flight at which all works were measured."""
        return set.intersection(
            *({point.in_flight for point in work.points} for work in self.works.values())
        )

    def server(self, work: Work) -> ServerModel:
        """Return the server that this one is for a kind of work.

        Between measured numbers in flight the rate is interpolated by the logarithm of the
        number; beyond the last it stays. A request that shares the server with more others is
        never faster for it: noise that says so is taken out downwards.
        """
        counts = np.arange(1, self.n_rows + 1)
        known = np.array([point.in_flight for point in work.points])
        rates = np.interp(
            np.log(counts), np.log(known), np.array([point.rate for point in work.points])
        )
        return ServerModel(np.minimum.accumulate(rates / counts), self.n_waiting)


def write_capacity(path: Path, capacity: Capacity) -> None:
    """Write a capacity file, whole or not at all."""
    values = asdict(capacity)
    values["works"] = [asdict(work) for work in capacity.works.values()]
    write_json(path, {"schema_version": SCHEMA_VERSION, **values})


def read_capacity(path: Path) -> Capacity:
    """Return what a capacity file says.

    Raises:
        CorruptArtifact: It is no capacity file, or not a whole one.
    """
    values = read_object(path, schema=SCHEMA_VERSION)
    try:
        works = [_work(each) for each in values["works"]]
        compared = tuple(Compared(**each) for each in values["compared"])
        own = {
            name: value
            for name, value in values.items()
            if name not in ("schema_version", "works", "compared")
        }
        capacity = Capacity(**own, works={work.name: work for work in works}, compared=compared)
        _check(capacity)
    except (KeyError, TypeError, InvalidValue) as error:
        raise CorruptArtifact(
            path,
            f"not a capacity file ({error})",
            remedy="Write one: python -m benchmarks.load --capacity FILE.",
        ) from error
    return capacity


def _work(values: dict[str, Any]) -> Work:
    points = tuple(Point(**each) for each in values["points"])
    return Work(**{**values, "points": points})


def _check(capacity: Capacity) -> None:
    if not capacity.works:
        raise InvalidValue("works", 0, "one or more")
    if capacity.n_rows < 1 or capacity.n_waiting < 0:
        raise InvalidValue(
            "n_rows and n_waiting", (capacity.n_rows, capacity.n_waiting), "1 and 0 or more"
        )
