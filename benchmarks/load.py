"""What arriving requests feel: time to first token, overload, and the rates that stay in time.

Requests go straight to ``Engine.submit``; those of the open loop arrive by a seeded Poisson
process whether or not the engine keeps up, and their times count from when they were due. Prompts
are real sentences and the caches of prompts are emptied before each part. The generator of load
lives in the engine's process and takes a little of its processor.

1. Capacity: 32 requests of 32 new tokens always in flight, and as many as the batch has rows.
2. Time to first token at 80 % of capacity.
3. Overload: the batch and the bounded queue are filled at once, then 150 % of capacity arrive.
4. For reading, classifying and writing: the highest rate whose 99th percentile stays in time.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.load [--quick] [--dtype float32] [--json FILE]``

With ``--capacity FILE`` none of that: a real server (``glassbox serve``) is asked over HTTP, and
what it can do is written for ``glassbox plan``.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.apparatus.arrivals import goodput, percentile, poisson, search
from benchmarks.apparatus.capacity import Bench as MeasuredBench
from benchmarks.apparatus.capacity import compared, curves, with_sizes
from benchmarks.apparatus.flights import Flown, Start, closed_loop, open_loop
from benchmarks.apparatus.machine import as_json, describe_machine, matmul_flops
from benchmarks.apparatus.model import make_model, model_folder
from benchmarks.apparatus.requests_of import Works
from benchmarks.apparatus.served import Caller, served_works, serving_model
from glassbox.deploy.plan.capacity import Capacity as MeasuredCapacity
from glassbox.deploy.plan.capacity import write_capacity
from glassbox.engine.batching.answering import Capacity
from glassbox.engine.resident import ResidentEngine, load_engine
from glassbox.types import ModelSpec

N_NEW = 32
IN_FLIGHT = 32
N_WAITING = 64
"""Requests that may wait: two more batches of capacity's."""
LOAD = 0.8
OVERLOAD = 1.5
LIMIT_S = 0.5
"""Source: the 500 ms that ADR-008 allows a verification."""
SHARE = 0.99
SETTLE_S = 2.0
"""Seconds at the beginning that do not count: an engine that was idle answers sooner."""
WRITTEN = (1, 8, 32, 64, 256)
SEED = 0


@dataclass(frozen=True)
class Plan:
    """How long everything is measured."""

    n_closed: int
    """Requests of each closed loop."""
    open_s: float
    """Seconds of arrivals at 80 % and at 150 %."""
    point_s: float
    """Seconds of arrivals at each rate of the search, where that gives enough requests."""
    n_least: int
    """Requests at each rate, where they arrive within ``longest_s``."""
    longest_s: float
    """Most seconds of arrivals at one rate."""
    n_points: int
    """Rates that are tried."""
    n_alone: int
    """Requests one after another before the search."""


LONG = Plan(640, 60.0, 15.0, 200, 60.0, 8, 20)
QUICK = Plan(192, 14.0, 3.0, 40, 7.0, 6, 3)


@dataclass(frozen=True)
class Room:
    """One line of the table: what a kind of request leaves room for."""

    alone_s: float
    """Median time of one request when nothing else runs."""
    rate: float
    """Highest rate that held; 0 is none."""
    failing: float | None
    """Lowest rate that did not hold; None where it was not searched for, or none failed."""
    p50_s: float | None
    """Median at the highest rate that held."""
    p99_s: float | None
    """99th percentile there."""
    n: int
    """Requests behind these two."""


@dataclass(frozen=True)
class Bench:
    """The engine and how long to measure."""

    engine: ResidentEngine
    works: Works
    plan: Plan
    n_rows: int

    def capacity(self, in_flight: int) -> float:
        """Return requests a second with so many always in flight."""
        return self._closed(
            self.works.write(N_NEW), max(self.plan.n_closed, 3 * in_flight), in_flight
        )

    def _closed(self, start: Start, n: int, in_flight: int) -> float:
        self.engine.forget_prompts()
        flown = closed_loop(start, n, in_flight)
        # From when the first have left to when nobody comes any more, all places are taken.
        first_s = sorted(each.done_s for each in flown)[in_flight - 1]
        last_s = max(each.sent_s for each in flown)
        return goodput([each.span for each in flown], first_s, last_s)

    def first_tokens(self, rate: float) -> dict[str, float]:
        """Return the times to first token under a steady load, in seconds."""
        n = round(rate * self.plan.open_s)
        self.engine.forget_prompts()
        seen = open_loop(self.works.write(N_NEW), poisson(n, rate, SEED))
        counted = [each for each in seen.flown if each.due_s - seen.begun_s >= SETTLE_S]
        firsts = [each.first_s - each.due_s for each in counted]
        wholes = [each.done_s - each.due_s for each in counted]
        return {
            "rate": rate,
            "n": len(counted),
            "n_shed": seen.n_shed,
            "p50_s": percentile(firsts, 0.5),
            "p99_s": percentile(firsts, SHARE),
            "p99_over_p50": percentile(firsts, SHARE) / percentile(firsts, 0.5),
            "whole_p50_s": percentile(wholes, 0.5),
            "whole_p99_s": percentile(wholes, SHARE),
        }

    def overload(self, rate: float) -> dict[str, float]:
        """Return what is left of the peak when too many come."""
        n_burst = self.n_rows + N_WAITING
        n = round(rate * self.plan.open_s)
        self.engine.forget_prompts()
        seen = open_loop(self.works.write(N_NEW), (*[0.0] * n_burst, *poisson(n, rate, SEED + 1)))
        last_s = seen.begun_s + self.plan.open_s
        done = goodput([each.span for each in seen.flown], seen.begun_s + SETTLE_S, last_s)
        wholes = [each.done_s - each.due_s for each in seen.flown]
        return {
            "rate": rate,
            "n": n_burst + n,
            "n_shed": seen.n_shed,
            "goodput": done,
            "whole_p50_s": percentile(wholes, 0.5),
            "whole_p99_s": percentile(wholes, SHARE),
        }

    def room(self, start: Start) -> Room:
        """Return the highest rate whose 99th percentile stays in time."""
        plan = self.plan
        self.engine.forget_prompts()
        # The first one computes what all of its kind share.
        alone = [each.latency_s for each in closed_loop(start, plan.n_alone + 1, 1)][1:]
        alone_s = statistics.median(alone)
        if alone_s > LIMIT_S:
            return Room(alone_s, 0.0, None, None, None, 0)
        held: dict[float, Sequence[Flown]] = {}

        def holds(rate: float) -> bool:
            self.engine.forget_prompts()
            wanted = max(plan.n_least, rate * plan.point_s)
            n = max(1, round(min(wanted, rate * plan.longest_s)))
            seen = open_loop(start, poisson(n, rate, SEED + 2), limit_s=LIMIT_S, share=SHARE)
            if not seen.in_time:
                return False
            held[rate] = seen.flown
            return True

        found = search(holds, self._closed(start, 3 * IN_FLIGHT, IN_FLIGHT), plan.n_points)
        failing = None if found.failing == float("inf") else found.failing
        if not found.rate:
            return Room(alone_s, 0.0, failing, None, None, 0)
        times = [each.latency_s for each in held[found.rate]]
        return Room(
            alone_s, found.rate, failing,
            percentile(times, 0.5), percentile(times, SHARE), len(times),
        )  # fmt: skip


def measure(bench: Bench, say: Callable[[str], None]) -> dict[str, Any]:
    """Return every figure of the report as JSON values."""
    works = bench.works
    closed_loop(works.write(8), IN_FLIGHT, IN_FLIGHT)
    flops = [_flops(bench)]
    capacity = bench.capacity(IN_FLIGHT)
    peak = max(capacity, bench.capacity(bench.n_rows))
    say(f"capacity: {capacity:.1f}/s, peak: {peak:.1f}/s")
    first = bench.first_tokens(LOAD * capacity)
    say(f"time to first token: p99 is {first['p99_over_p50']:.1f} times p50")
    over = bench.overload(OVERLOAD * capacity)
    say(f"overload: {over['goodput']:.1f}/s")
    kinds: Mapping[str, Start] = {
        "verify": works.read(N_NEW),
        "classify": works.classify,
        **{f"write {n}": works.write(n) for n in WRITTEN},
    }
    rooms = {}
    for name, start in kinds.items():
        room = bench.room(start)
        rooms[name] = asdict(room)
        say(f"{name}: {room.rate:.1f}/s")
    flops.append(_flops(bench))
    return {
        "plan": asdict(bench.plan),
        "matmul_flops": flops,
        "dtype": bench.engine.info.dtype,
        "n_rows": bench.n_rows,
        "n_waiting": N_WAITING,
        "n_prompt_tokens": works.mean_prompt,
        "capacity": capacity,
        "peak": peak,
        "first_token": first,
        "overload": over | {"goodput_over_peak": over["goodput"] / peak},
        "rooms": rooms,
    }


def _flops(bench: Bench) -> float:
    return matmul_flops(getattr(torch, bench.engine.info.dtype), bench.works.device)


def show(result: dict[str, Any]) -> None:
    """Print the report."""
    machine, first, over = (result[name] for name in ("machine", "first_token", "overload"))
    print(f"{machine['description']}, {machine['device']}, {machine['threads']} threads")
    print(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    print(
        f"{result['mode']}, {result['dtype']}, prompts of {result['n_prompt_tokens']:.0f} tokens "
        f"on average, {result['n_rows']} rows, {result['n_waiting']} may wait"
    )
    print(f"capacity, {IN_FLIGHT} in flight, {N_NEW} tokens{result['capacity']:>12.1f} requests/s")
    print(
        f"peak, the better of {IN_FLIGHT} and {result['n_rows']}{result['peak']:>15.1f} requests/s"
    )
    print(
        f"at {first['rate']:.1f}/s, {first['n']} requests: first token p50 "
        f"{first['p50_s'] * 1e3:.0f} ms, p99 {first['p99_s'] * 1e3:.0f} ms, "
        f"{first['p99_over_p50']:.1f}x (<= 5); whole answer p50 {first['whole_p50_s']:.2f} s, "
        f"p99 {first['whole_p99_s']:.2f} s; {first['n_shed']} shed"
    )
    print(
        f"at {over['rate']:.1f}/s, {over['n']} requests: {over['n_shed']} shed, goodput "
        f"{over['goodput']:.1f}/s, {over['goodput_over_peak']:.2f} of the peak (>= 0.90); whole "
        f"answer p50 {over['whole_p50_s']:.2f} s, p99 {over['whole_p99_s']:.2f} s"
    )
    first_flops, last_flops = (each / 1e9 for each in result["matmul_flops"])
    print(f"matrix product of 4096: {first_flops:.0f} GFLOP/s before, {last_flops:.0f} after")
    print(f"{'kind':<12}{'alone':>8}{'rate':>9}{'fails at':>10}{'p50':>8}{'p99':>8}{'n':>6}")
    for name, room in result["rooms"].items():
        print(f"{name:<12}{_ms(room['alone_s'])}{_rate(room)}{room['n']:>6}")


def _ms(seconds: float | None) -> str:
    return f"{'-':>8}" if seconds is None else f"{seconds * 1e3:>5.0f} ms"


def _rate(room: Mapping[str, float | None]) -> str:
    rate = f"{room['rate']:>7.1f}/s" if room["rate"] else f"{'none':>9}"
    failing = f"{'-':>10}" if room["failing"] is None else f"{room['failing']:>8.1f}/s"
    return f"{rate}{failing}{_ms(room['p50_s'])}{_ms(room['p99_s'])}"


def write_measured(options: argparse.Namespace) -> None:
    """Measure a real server and write its capacity file."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = describe_machine(device)
    model, point_s = model_folder(), 1.2 if options.quick else 8.0
    works = served_works(model, (8,))
    started = time.perf_counter()

    def say(part: str) -> None:
        print(f"[{time.perf_counter() - started:4.0f} s] {part}", flush=True)

    with serving_model(model, options.dtype, options.threads) as port:
        bench = MeasuredBench(
            Caller(port), works, point_s, 6.5 * point_s, 2 if options.quick else 3, say
        )
        seen = bench.run()
        bench.caller.close()
        capacity = MeasuredCapacity(
            instance=options.instance or machine.description,
            machine=f"{machine.description}, {machine.device}, "
            f"{options.threads or machine.threads} threads, torch {machine.versions['torch']}",
            model=model.name,
            n_parameters=sum(each.numel() for each in make_model().parameters()),
            dtype=options.dtype,
            measured=time.strftime("%Y-%m-%d"),
            command=f"python -m benchmarks.load --capacity FILE --dtype {options.dtype}"
            + (f" --threads {options.threads}" if options.threads else "")
            + (" --quick" if options.quick else ""),
            n_rows=Capacity().n_rows,
            n_waiting=Capacity().n_waiting,
            works=curves(works, seen),
        )
        capacity = with_sizes(capacity, works)
        capacity = replace(capacity, compared=compared(capacity, seen))
    write_capacity(options.capacity, capacity)
    for work in capacity.works.values():
        curve = ", ".join(f"{point.in_flight}: {point.rate:.1f}/s" for point in work.points)
        print(f"{work.name}, by requests in flight: {curve}")
    for each in capacity.compared:
        print(
            f"{each.work} at {each.rate:.1f}/s, {each.n} requests: p50 "
            f"{each.measured_p50_s * 1e3:.0f} ms measured, {each.simulated_p50_s * 1e3:.0f} "
            f"simulated ({each.p50_error:+.0%}); p99 {each.measured_p99_s * 1e3:.0f} and "
            f"{each.simulated_p99_s * 1e3:.0f} ({each.p99_error:+.0%})"
        )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rows", type=int, default=Capacity().n_rows)
    parser.add_argument("--quick", action="store_true", help="a few seconds for each figure")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--capacity", type=Path, help="measure a real server for glassbox plan")
    parser.add_argument("--instance", default="", help="with --capacity: the instance's type")
    options = parser.parse_args()
    if options.capacity is not None:
        write_measured(options)
        return
    spec = ModelSpec(str(model_folder()), dtype=options.dtype, device=options.device)
    started = time.perf_counter()
    engine = load_engine(spec, threads=options.threads, capacity=Capacity(options.rows, N_WAITING))
    works = Works(engine)
    bench = Bench(engine, works, QUICK if options.quick else LONG, options.rows)
    result = measure(
        bench, lambda part: print(f"[{time.perf_counter() - started:4.0f} s] {part}", flush=True)
    )
    works.close()
    engine.close()
    result["mode"] = "quick" if options.quick else "long"
    result["seconds"] = time.perf_counter() - started
    result["machine"] = as_json(describe_machine(works.device))
    show(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
