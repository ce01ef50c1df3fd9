"""How plans and states of an endpoint are shown, and what is seen while one is made."""

from dataclasses import asdict
from typing import Any, Final

from rich.text import Text

from glassbox.cli.terminal.console import Column, note, print_json, print_table, print_text
from glassbox.deploy.sagemaker.calls import Action, Call, Put, Remove, Wait
from glassbox.deploy.sagemaker.carrying_out import Watcher
from glassbox.deploy.sagemaker.cost import Cost
from glassbox.deploy.sagemaker.plan import Plan
from glassbox.deploy.sagemaker.status import Status
from glassbox.wording import files_of, size_of

SAY_EVERY_S: Final = 60.0
"""Seconds between two lines about something that takes its time."""

_COLOURS: Final = {"+": "green", "~": "yellow", "-": "red", "·": "dim"}


def show_plan(plan: Plan, *, was_asked: bool) -> None:
    """Print what would be done, what it changes and what it costs.

    Args:
        plan: The steps.
        was_asked: Whether AWS was asked what is there.
    """
    where = f"{plan.deployment} in {plan.region}"
    if plan.is_done:
        print_text(f"Nothing to do: {where} is as wished.")
    else:
        about = "" if was_asked else ", in an account where nothing is"
        print_table(
            [Column("", wraps=False), "step", "why"],
            [(Text(each.sign, _COLOURS[each.sign]), _what(each), each.why)
             for each in plan.actions],
            title=f"Plan for {where}{about}",
        )  # fmt: skip
    if plan.changes:
        rows = [(each.what, each.before, each.after) for each in plan.changes]
        print_table(["different", "now", "then"], rows, title="What changes at the endpoint")
    if plan.cost is not None:
        _show_cost(plan.cost)
    for name, address in (plan.adapters or {}).items():
        print_text(f"Requests name adapter {name} as {address}")
    for each in plan.notes:
        note(f"Note: {each}")


def _what(action: Action) -> str:
    if isinstance(action, Put):
        return f"{action.what}: {files_of(len(action.uploads), action.n_bytes)}"
    return action.what


def _show_cost(cost: Cost) -> None:
    first, least, most = cost.n_machines
    print_table(
        ["", Column("machines", "right"), Column("USD a month", "right")],
        [
            ("now", None, _money(cost.now)),
            ("at first", first, _money(cost.at_first)),
            ("at least", least, _money(cost.least)),
            ("at most", most, _money(cost.most)),
        ],
        title="What the machines cost",
    )
    print_text(f"Traffic, storage and logs come on top. Price: {cost.basis}.")


def _money(usd: float | None) -> str:
    return "unknown" if usd is None else f"{usd:,.0f}"


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON values, the very requests included."""
    return {
        "deployment": plan.deployment,
        "region": plan.region,
        "is_done": plan.is_done,
        "actions": [_action_json(each) for each in plan.actions],
        "changes": [asdict(each) for each in plan.changes],
        "cost": None if plan.cost is None else asdict(plan.cost),
        "adapters": dict(plan.adapters or {}),
        "notes": list(plan.notes),
    }


def _action_json(action: Action) -> dict[str, Any]:
    found: dict[str, Any] = {"sign": action.sign, "what": action.what, "why": action.why}
    if isinstance(action, Call):
        asked = {"service": action.service, "operation": action.operation}
        return {**found, **asked, "request": dict(action.request)}
    if isinstance(action, Put):
        return {**found, "objects": [each.url for each in action.uploads]}
    if isinstance(action, Remove):
        return {**found, "objects": list(action.urls)}
    return {**found, "waits_for": action.state}


def show_status(status: Status, *, as_json: bool) -> None:
    """Print how a deployment is."""
    if as_json:
        print_json({**asdict(status), "answers": status.answers})
        return
    machines = ", ".join(
        f"{each.name}: {each.n_current} of {each.n_desired} {each.instance_type}".rstrip()
        for each in status.variants
    )
    rows = [
        ("state", f"{status.state}{f': {status.reason}' if status.reason else ''}"),
        ("bundle", status.bundle or None),
        ("configuration", status.config or None),
        ("before that", status.previous_config or None),
        ("machines", machines or None),
        ("components", ", ".join(f"{k}: {v}" for k, v in status.components.items()) or None),
        ("autoscaling", "; ".join(status.scaling) or "off"),
        *((f"alarm {name}", state) for name, state in status.alarms.items()),
        ("left over", "\n".join(status.left_over) or None),
    ]
    title = f"{status.deployment} in {status.region}"
    print_table(["", title], [row for row in rows if row[1] is not None])
    if status.state == "absent":
        note(f"There is no such endpoint in {status.region}; other regions were not looked at.")
    elif not status.is_ours:
        note("No tag says that this endpoint is a deployment of Glassbox: it would be left alone.")


class Shower(Watcher):
    """Says what is done while it is done.

    Args:
        n_steps: Steps in all.
        rest: What can be done where it stops before its end.
    """

    def __init__(self, n_steps: int, rest: str) -> None:
        super().__init__()
        self._n_steps = n_steps
        self._rest = rest
        self._said: tuple[str, float] = ("", 0.0)
        self._begun: Action | None = None
        self._put_bytes = 0

    def starts(self, action: Action) -> None:
        """Say which step begins."""
        self._said = ("", 0.0)
        self._begun, self._put_bytes = action, 0
        note(f"[{len(self.done) + 1}/{self._n_steps}] {action.sign} {_what(action)}")

    def looked(self, wait: Wait, state: str, passed_s: float) -> None:
        """Say a new state at once, an old one once a minute."""
        before, at_s = self._said
        if state != before or passed_s - at_s >= SAY_EVERY_S:
            self._said = (state, passed_s)
            note(f"      {wait.name}: {state}, {passed_s:.0f} s")

    def put(self, done_bytes: int, all_bytes: int) -> None:
        """Say how much is there."""
        self._put_bytes = done_bytes
        if all_bytes > 100e6:
            note(f"      {size_of(done_bytes)} of {size_of(all_bytes)}")

    def so_far(self, *, is_known: bool) -> str:
        """Return what was done before it stopped, half a step included.

        Args:
            is_known: Whether the request that was under way was certainly not carried out.
        """
        done = [f"{each.sign} {each.what}" for each in self.done if each.sign != "·"]
        if isinstance(self._begun, Put) and self._put_bytes:
            there = f"{size_of(self._put_bytes)} of {size_of(self._begun.n_bytes)}"
            done.append(f"{self._begun.sign} {there} of {self._begun.what}")
        said = f"Done: {'; '.join(done)}." if done else "Nothing was changed before."
        if not is_known and isinstance(self._begun, Call | Remove):
            said += " Whether this step was done is not known."
        elif not done:
            return "Nothing was changed."
        return f"Stopped at step {len(self.done) + 1} of {self._n_steps}. {said} {self._rest}"
