"""``glassbox plan``: how many instances, what requests will feel, what a month costs.

Parses, makes one call, prints. Knows nothing of queues or prices.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.terminal.console import (
    Column,
    note,
    print_json,
    print_table,
    print_text,
    progress,
)
from glassbox.errors import ConflictError, InvalidValue

if TYPE_CHECKING:
    from glassbox.deploy.plan.autoscaling import Metric
    from glassbox.deploy.plan.capacity import Capacity, Work
    from glassbox.deploy.plan.planning import Plan
    from glassbox.deploy.prices import Price, Prices

File = Annotated[
    Path | None,
    typer.Argument(
        help="capacity.json of one server, written by 'python -m benchmarks.load --capacity'; "
        "without it only the design's own tables are computed again."
    ),
]
Users = Annotated[float, typer.Option("--users", help="How many users there are.")]
PerUser = Annotated[
    float, typer.Option("--requests-per-user", help="Requests of one user in a day.")
]
PeakFactor = Annotated[
    float, typer.Option("--peak-factor", help="Busiest moment over the day's mean, 1 to 2.")
]
WorkName = Annotated[
    str | None, typer.Option("--work", help="Which measured work requests are; the first if unset.")
]
ReadTokens = Annotated[
    float | None,
    typer.Option("--read-tokens", help="Instead of --work: tokens read, prompt and response."),
]
WrittenTokens = Annotated[
    float | None, typer.Option("--written-tokens", help="Instead of --work: tokens written.")
]
Target = Annotated[float, typer.Option("--target", help="Utilisation aimed at, (0, 1].")]
LimitS = Annotated[
    float, typer.Option("--p99-s", help="Most seconds of the 99th percentile of times.")
]
Least = Annotated[int, typer.Option("--min-instances", help="Fewest instances.")]
Most = Annotated[int, typer.Option("--max-instances", help="Most instances: mind the quota.")]
ColdStart = Annotated[
    float, typer.Option("--cold-start-s", help="Seconds until a new instance answers.")
]
MetricName = Annotated[
    str, typer.Option("--metric", help="What scaling watches: concurrency or utilisation.")
]
SpikeFactor = Annotated[
    float, typer.Option("--spike", help="The spike: how many times what comes otherwise.")
]
SpikeMinutes = Annotated[float, typer.Option("--spike-minutes", help="How long the spike lasts.")]
InstanceType = Annotated[
    str | None,
    typer.Option("--instance-type", help="Whose price counts; the measured one if unset."),
]
UsdPerHour = Annotated[
    float | None, typer.Option("--usd-per-hour", help="Instead: US dollars an hour.")
]
PriceFile = Annotated[
    Path | None, typer.Option("--prices", help="File of prices of your own, over the shipped ones.")
]
Discount = Annotated[
    float, typer.Option("--discount", help="Share that a savings plan takes off, in [0, 1).")
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder for a page, pictures and plan.json.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of chance.", min=0)]


def plan(
    capacity: File = None,
    users: Users = 100_000,
    requests_per_user: PerUser = 8.64,
    peak_factor: PeakFactor = 1.0,
    work: WorkName = None,
    read_tokens: ReadTokens = None,
    written_tokens: WrittenTokens = None,
    target: Target = 0.8,
    p99_s: LimitS = 0.5,
    min_instances: Least = 1,
    max_instances: Most = 300,
    cold_start_s: ColdStart = 300.0,
    metric: MetricName = "concurrency",
    spike: SpikeFactor = 3.0,
    spike_minutes: SpikeMinutes = 30.0,
    instance_type: InstanceType = None,
    usd_per_hour: UsdPerHour = None,
    prices: PriceFile = None,
    discount: Discount = 0.0,
    out: Out = None,
    seed: Seed = 0,
    json: options.AsJson = False,
) -> None:
    """Plan a fleet: instances, times by simulation, cost, and what a spike would do.

    Nothing is run on a cloud. Times are as true as the capacity file is of the instance you rent.
    """
    from glassbox.deploy.plan.autoscaling import Spike
    from glassbox.deploy.plan.capacity import read_capacity
    from glassbox.deploy.plan.planning import Aims, make_plan
    from glassbox.deploy.plan.traffic import Traffic
    from glassbox.deploy.prices import SHIPPED, read_prices

    table = SHIPPED if prices is None else read_prices(prices)
    if capacity is None:
        if out is not None:
            raise InvalidValue("--out", str(out), "a capacity file too: the page shows its plan")
        _show_source(table, json=json)
        return
    measured = read_capacity(capacity)
    aims = Aims(
        target=target, limit_s=p99_s, least=min_instances, most=max_instances,
        cold_start_s=cold_start_s, metric=_metric(metric),
        spike=Spike(spike, length_s=60 * spike_minutes), discount=discount, seed=seed,
    )  # fmt: skip
    price = _price(measured, table, instance_type, usd_per_hour)
    asked = _work(measured, work, read_tokens, written_tokens)
    traffic = Traffic(users, requests_per_user, peak_factor)
    with progress("Simulating a day", quiet=json) as report:
        made = make_plan(measured, asked, traffic, aims, price, report=report)
    _show(made, out, json=json)


def _metric(name: str) -> "Metric":
    if name == "concurrency":
        return "concurrency"
    if name == "utilisation":
        return "utilisation"
    raise InvalidValue("--metric", name, "concurrency or utilisation")


def _work(
    capacity: "Capacity", name: str | None, n_read: float | None, n_written: float | None
) -> "Work":
    if n_read is None and n_written is None:
        return capacity.work(name or next(iter(capacity.works)))
    if name is not None:
        raise ConflictError("--work and tokens: give one of them.")
    cv = max(each.size_cv for each in capacity.works.values())
    return capacity.work_of(n_read or 0.0, n_written or 0.0, size_cv=cv)


def _price(
    capacity: "Capacity", prices: "Prices", instance_type: str | None, usd: float | None
) -> "Price | None":
    from glassbox.deploy.prices import Price, price_of

    if usd is not None:
        return Price(
            instance_type or capacity.instance, usd, "your region", capacity.measured, "you"
        )
    if instance_type is not None:
        return price_of(instance_type, prices)
    return prices.get(capacity.instance)


def _show(made: "Plan", out: Path | None, *, json: bool) -> None:
    from glassbox.deploy.plan.files import plan_values, write_plan
    from glassbox.deploy.plan.words import plan_rows, verdict

    page = None
    if out is not None:
        with progress("Drawing", quiet=json):
            page = write_plan(made, out)
    if json:
        print_json(plan_values(made))
        return
    print_text(verdict(made))
    print_table(["", "value"], plan_rows(made))
    for each in made.notes:
        note(each)
    if page is not None:
        print_text(f"Page, pictures and values: {page}")


def _show_source(prices: "Prices", *, json: bool) -> None:
    from glassbox.deploy.plan.source_tables import INSTANCE, KEPT, RATE_OF_ONE, tables_again
    from glassbox.deploy.plan.words import (
        ADAPTER_HEADER,
        adapter_notes,
        adapter_rows,
        source_notes,
        source_table,
    )
    from glassbox.deploy.prices import price_of

    price = price_of(INSTANCE, prices)
    with progress("Simulating", quiet=json):
        again = tables_again(price)
    if json:
        print_json({"rows": again, "notes": source_notes(price) + adapter_notes(RATE_OF_ONE, KEPT)})
        return
    (names, *sizes), figures = source_table(price)
    print_table([names, *(Column(size, "right") for size in sizes)], figures)
    for each in source_notes(price):
        print_text(f"- {each}")
    print_text("")
    print_table([Column(name, "right") for name in ADAPTER_HEADER], adapter_rows(RATE_OF_ONE, KEPT))
    for each in adapter_notes(RATE_OF_ONE, KEPT):
        print_text(f"- {each}")
