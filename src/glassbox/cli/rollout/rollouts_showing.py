"""How ``glassbox rollout`` shows rollouts: lines, gates, stories. Decides nothing."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from glassbox.cli.arguments.moments import to_second
from glassbox.cli.terminal.console import Column, note, output, print_table, print_text, visible
from glassbox.rollout.decisions.plan import RolloutPlan
from glassbox.rollout.decisions.status import RolloutBrief, RolloutStatus
from glassbox.wording import percent

if TYPE_CHECKING:
    from glassbox.rollout.decisions.controller import Controller

WATCH_S: Final = 1.0
"""Seconds between two looks of ``--watch``."""

_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "pass": ("✓ pass", "green"),
    "fail": ("✗ fail", "bold red"),
    "inconclusive": ("? in doubt", "yellow"),
    "not_enough_data": ("… too few", "dim"),
    "off": ("– off", "dim"),
}


def show_line(status: RolloutStatus) -> None:
    """Print one line: what goes where, and the last decision."""
    print_text(f"{status.id}  {_where(status)}. {status.decision.reason}")


def show_list(rollouts: Sequence[RolloutBrief]) -> None:
    """Print rollouts as a table."""
    if not rollouts:
        note("No rollouts yet. Start one: glassbox rollout start CHALLENGER")
        return
    print_table(
        [
            Column("rollout", wraps=False),
            "model",
            "champion",
            "challenger",
            "phase",
            Column("share", "right"),
            Column("started", wraps=False),
        ],
        [
            (
                each.id,
                each.model,
                each.champion,
                each.challenger,
                _phase(each),
                percent(each.weight),
                to_second(each.started_s),
            )
            for each in rollouts
        ],
    )


def show_status(status: RolloutStatus) -> None:
    """Print where a rollout stands and what each gate says."""
    output().print(Text(f"{status.id}  {_where(status)}", style="bold"))
    print_text(status.decision.reason)
    show_evidence(status)


def show_evidence(status: RolloutStatus) -> None:
    """Print what each gate of a rollout says, what it rests on, and what may be done now."""
    if status.gates:
        show_gates(status.gates)
    seen = ", ".join(f"{count} {name}" for name, count in sorted(status.counts.items()))
    if seen:
        note(f"How the challenger's copies ended: {seen}.")
    if status.verbs:
        note(f"You may: glassbox rollout {'|'.join(status.verbs)} {status.id}")


def show_gates(gates: Sequence[Any]) -> None:
    """Print gates as a table: figure, range, limit, verdict."""
    print_table(
        [
            Column("gate", wraps=False),
            Column("value", "right"),
            Column("range", "right", wraps=False),
            Column("limit", "right"),
            Column("requests", "right"),
            Column("verdict", wraps=False),
            "what it is",
        ],
        [_gate_row(each if isinstance(each, Mapping) else each.to_json()) for each in gates],
    )


def show_story(status: RolloutStatus) -> None:
    """Print every step of a rollout, and the gates that the last ones rested on."""
    output().print(Text(f"{status.id}  {_where(status)}", style="bold"))
    print_table(
        [
            Column("when", wraps=False),
            Column("phase", wraps=False),
            Column("share", "right"),
            "who",
            "why",
        ],
        [
            (
                to_second(each.time_s),
                each.after,
                percent(each.evidence.get("weight", 0.0)),
                each.actor,
                each.reason,
            )
            for each in status.transitions
        ],
    )
    last = next((each for each in reversed(status.transitions) if each.evidence.get("gates")), None)
    if last is not None:
        output().print(Text(f"What {last.after} rested on:"))
        show_gates(last.evidence["gates"])


def follow(
    controller: "Controller", status: RolloutStatus, say: Callable[[str], None]
) -> RolloutStatus:
    """Say a line whenever a rollout changes, and return it once it has ended."""
    shown = ""
    while True:
        line = f"{_where(status)}: {status.decision.reason}"
        # Seconds that are left change all the time: a line for each would tell nothing.
        words = "".join(each for each in line if not each.isdigit())
        if words != shown:
            say(line)
            shown = words
        if status.phase in ("Succeeded", "Failed"):
            return status
        time.sleep(WATCH_S)
        status = controller.status(status.id)


def as_toml(plan: RolloutPlan) -> str:
    """Return a plan as TOML, with ``"off"`` for limits that are off."""
    value = plan.to_json()
    limits = value.pop("limits")
    lines = [f"{key} = {_toml(each)}" for key, each in value.items()]
    lines += ["", "[limits]", *(f"{key} = {_toml(each)}" for key, each in limits.items())]
    return "\n".join(lines)


def _toml(value: object) -> str:
    if value is None:
        return '"off"'
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _gate_row(gate: Mapping[str, Any]) -> tuple[object, ...]:
    mark, style = _MARKS[gate["verdict"]]
    low, high = gate["low"], gate["high"]
    return (
        gate["name"],
        _number(gate["value"]),
        None if low is None or high is None else f"{_number(low)} … {_number(high)}",
        _number(gate["limit"]),
        f"{gate['n']:,}" if gate["n"] >= gate["needed"] else f"{gate['n']:,} of {gate['needed']:,}",
        Text(mark, style=style),
        visible(gate["about"]),
    )


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _where(status: RolloutBrief) -> str:
    share = f", {percent(status.weight)} of requests" if status.weight else ""
    return f"{status.champion} → {status.challenger}: {_phase(status)}{share}"


def _phase(status: RolloutBrief) -> str:
    held = " (paused)" if status.paused else ""
    return f"{status.phase}{held}{' (dry run)' if status.dry_run else ''}"
