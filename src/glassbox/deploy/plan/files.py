"""A plan as values, as pictures and as a page. Nothing is computed here."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from glassbox.artifacts import write_bytes, write_json
from glassbox.charts.capacity import (
    FleetHours,
    ScalingDay,
    SimulationError,
    fleet_day,
    fleet_spike,
    simulation_check,
)
from glassbox.charts.chart import Chart, plain, save
from glassbox.charts.report import Report, Section, Table, chart_image, render_report
from glassbox.deploy.plan.autoscaling import PERIOD_S, ScaledDay
from glassbox.deploy.plan.planning import Plan
from glassbox.deploy.plan.source_tables import KEPT, RATE_OF_ONE
from glassbox.deploy.plan.words import (
    ADAPTER_HEADER,
    adapter_notes,
    adapter_rows,
    money,
    plan_rows,
    seconds,
    source_notes,
    source_table,
    verdict,
)
from glassbox.wording import percent

SCHEMA_VERSION: Final = 1

PAGE_FILE: Final = "plan.html"
VALUES_FILE: Final = "plan.json"


def plan_values(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values: fractions, seconds, US dollars."""
    return {
        "schema_version": SCHEMA_VERSION,
        "instances": plan.instances,
        "decided_by": plan.by,
        "instances_for_target": plan.for_target,
        "instances_for_latency": plan.for_latency,
        "traffic": asdict(plan.traffic)
        | {"mean_rate": plan.traffic.mean_rate, "peak_rate": plan.traffic.peak_rate},
        "aims": asdict(plan.aims),
        "work": asdict(plan.work),
        "server": {
            "peak_rate": plan.server.peak_rate,
            "alone_s": plan.server.alone_s,
            "n_rows": plan.server.n_rows,
            "n_waiting": plan.server.n_waiting,
        },
        "at_the_busiest_moment": {
            "sent_to_any": asdict(plan.at_random),
            "sent_to_the_least_busy": None if plan.least_busy is None else asdict(plan.least_busy),
        },
        "day": asdict(plan.day),
        "scaling": {
            "ordinary": _scaled(plan.ordinary),
            "with_spike": _scaled(plan.spiked),
        },
        "price": None if plan.price is None else asdict(plan.price),
        "usd_per_month": None if plan.cost is None else asdict(plan.cost),
        "measured": {
            name: getattr(plan.capacity, name)
            for name in ("instance", "machine", "model", "dtype", "measured", "command")
        },
        "compared": [
            asdict(each) | {"p50_error": each.p50_error, "p99_error": each.p99_error}
            for each in plan.capacity.compared
        ],
        "notes": list(plan.notes),
    }


def _scaled(day: ScaledDay) -> dict[str, Any]:
    return {
        "mean_instances": day.mean_servers,
        "most_instances": day.peak_servers,
        "share_turned_away": day.share_turned_away,
        "share_late": day.share_late,
        "late_s": day.late_s,
        "longest_s": day.longest_s,
    }


def plan_charts(plan: Plan) -> Mapping[str, Chart]:
    """Return the plan's pictures by name.

    Raises:
        DependencyMissing: matplotlib is not installed.
    """
    charts = [
        fleet_day(
            FleetHours(
                n_instances=plan.instances,
                n_requests=plan.day.n_requests,
                rates=tuple(hour.rate for hour in plan.day.hours),
                utilisations=tuple(hour.utilisation for hour in plan.day.hours),
                p50_s=tuple(hour.p50_s for hour in plan.day.hours),
                p99_s=tuple(hour.p99_s for hour in plan.day.hours),
                target=plan.aims.target,
                limit_s=plan.aims.limit_s,
            )
        ),
        fleet_spike(
            ScalingDay(
                step_s=PERIOD_S,
                rates=plan.spiked.rates,
                ready=plan.spiked.ready,
                wanted=plan.spiked.wanted,
                times_s=plan.spiked.times_s,
                rate_of_one=plan.server.peak_rate,
                limit_s=plan.aims.limit_s,
                cold_start_s=plan.aims.cold_start_s,
                share_turned_away=plan.spiked.share_turned_away,
                share_late=plan.spiked.share_late,
            )
        ),
    ]
    if plan.capacity.compared:
        charts.append(
            simulation_check(
                [
                    SimulationError(
                        f"{each.work}, {each.rate:.1f}/s",
                        each.measured_p50_s,
                        each.measured_p99_s,
                        each.simulated_p50_s,
                        each.simulated_p99_s,
                    )
                    for each in plan.capacity.compared
                ]
            )
        )
    return {chart.info.name: chart for chart in charts}


def write_plan(plan: Plan, folder: Path) -> Path:
    """Write values, pictures and a page below a folder; return the page's path.

    Raises:
        NoDiskSpace: The device is full.
        DependencyMissing: The extra ``charts`` is not installed.
    """
    charts = plan_charts(plan)
    write_json(folder / VALUES_FILE, plain(plan_values(plan)))
    for chart in charts.values():
        save(chart, folder)
    page = folder / PAGE_FILE
    write_bytes(page, render_report(_report(plan, charts)).encode())
    return page


def _report(plan: Plan, charts: Mapping[str, Chart]) -> Report:
    capacity, cost = plan.capacity, plan.cost
    figures = [
        ("instances", f"{plan.instances:,}"),
        ("utilisation at the busiest moment", percent(plan.at_random.utilisation)),
        ("99th percentile then", seconds(plan.at_random.p99_s)),
    ]
    if cost is not None:
        figures.append(("a month", money(cost.fixed_discounted)))
    rows = tuple((name, value) for name, value in plan_rows(plan))
    checked: tuple[Section, ...] = ()
    if "simulation_check" in charts:
        checked = (
            Section(
                "Is the simulation to be believed",
                ("The same requests came at the same moments to a real server and to its model.",),
                charts=(chart_image(charts["simulation_check"]),),
            ),
        )
    return Report(
        title="Capacity plan",
        verdict=verdict(plan),
        summary=plan.notes,
        figures=tuple(figures),
        sections=(
            Section("The plan", tables=(Table("What was decided, and why", ("", "value"), rows),)),
            Section("A day, request by request", charts=(chart_image(charts["fleet_day"]),)),
            Section(
                "A spike, with slow starts",
                (
                    "Requests are a fluid here, second by second; what they feel in quiet times "
                    "is the other chart's matter.",
                ),
                charts=(chart_image(charts["fleet_spike"]),),
            ),
            *checked,
            Section(
                "The design's own table, computed again",
                source_notes(),
                tables=(Table("Three sizes", *source_table()),),
            ),
            Section(
                "One endpoint for each customer, or adapters",
                adapter_notes(RATE_OF_ONE, KEPT),
                tables=(Table("A month", ADAPTER_HEADER, adapter_rows(RATE_OF_ONE, KEPT)),),
            ),
        ),
        provenance=(
            ("measured on", capacity.machine),
            ("model", f"{capacity.model}, {capacity.n_parameters:,} parameters, {capacity.dtype}"),
            ("measured", capacity.measured),
            ("command", capacity.command),
            ("seed", str(plan.aims.seed)),
        ),
        tone="good" if plan.at_random.p99_s <= plan.aims.limit_s else "caution",
    )
