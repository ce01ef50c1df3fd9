"""A small capacity and its plan, for the tests of planning."""

import dataclasses

import numpy as np

from glassbox.deploy.plan.capacity import Capacity, Compared, Point, Work
from glassbox.deploy.plan.simulator import ServerModel

VERIFY = Work("verify", 60, 0, 0.2, (Point(1, 8.0), Point(2, 9.0), Point(4, 10.0), Point(8, 10.0)))
WRITE = Work("write 8", 28, 8, 0.1, (Point(1, 5.0), Point(2, 9.0), Point(4, 14.0), Point(8, 20.0)))

CAPACITY = Capacity(
    instance="two cores",
    machine="two cores, cpu, 1 threads",
    model="benchmark-model-1",
    n_parameters=39_600_000,
    dtype="float32",
    measured="2026-11-21",
    command="python -m benchmarks.load --capacity FILE",
    n_rows=16,
    n_waiting=64,
    works={work.name: work for work in (VERIFY, WRITE)},
    compared=(Compared("verify", 4.0, 200, 0.10, 0.40, 0.12, 0.50),),
)

SLOW = dataclasses.replace(
    CAPACITY,
    works={
        name: dataclasses.replace(
            work, points=tuple(Point(each.in_flight, each.rate / 10) for each in work.points)
        )
        for name, work in CAPACITY.works.items()
    },
)
"""A tenth as fast: the same plans of a tenth of the requests."""


def sharing(n_rows: int = 8, n_waiting: int = 16) -> ServerModel:
    """Return a server that gains by working on several requests, less and less."""
    counts = np.arange(1, n_rows + 1)
    return ServerModel(10.0 / (counts + 3), n_waiting)
