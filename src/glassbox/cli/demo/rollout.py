"""``glassbox demo rollout``: a good version, a broken one and a drifting stream, as they happen.

A server of its own answers real texts with the embedded classifier. Parses nothing but its options;
everything that happens goes over HTTP, as it would with a server of yours.
"""

import contextlib
import shutil
import signal
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from glassbox.artifacts import read_json, write_bytes
from glassbox.cli.demo.folder import demo_folder
from glassbox.cli.demo.server import HOST, check_port, serving, taking_alerts
from glassbox.cli.demo.traffic import Told, Traffic
from glassbox.cli.demo.waiting import Teller, waited_for
from glassbox.cli.terminal.console import Column, note, output, print_table, print_text
from glassbox.rollout.decisions.policy import ENDED
from glassbox.runtime import SHIPPED_RUN
from glassbox.wire.rollouts import GateAnswered
from glassbox.wording import counted

if TYPE_CHECKING:
    from glassbox.client import Client
    from glassbox.wire.drift import DriftReportAnswered
    from glassbox.wire.rollouts import RolloutStatus

FOLDER: Final = "demo-rollout"
"""Folder below the runs in which the demo keeps database, versions and log."""

PER_SECOND: Final = 40.0
"""Requests a second: what two cores answer and still have something left for a challenger."""

ALERT_S: Final = 60.0
"""Seconds in which an alert must come."""

WINDOW: Final = 300
"""Answers that are compared with the reference, so many of each kind of text."""

PLAN: Final[dict[str, Any]] = {
    "step_weight": 0.25,
    "max_weight": 0.5,
    "step_s": 3.0,
    "min_requests": 200,
    "min_distinct": 100,
    "min_step_requests": 20,
    "consecutive_passes": 2,
    "bake_s": 4.0,
    "min_bake_requests": 50,
    "max_duration_s": 900.0,
    "cooldown_s": 0.0,
    "limits": {"difference": 0.25, "error_rate": 0.05, "slow_share": 0.25, "slow_ms": 250.0,
               "calibration": 0.05},
}  # fmt: skip
"""A rollout in seconds rather than days; the limits are as wide as a demo of seconds needs. On a
machine that is busy it takes longer, and ends with what could not be decided."""

RULES: Final = """\
[receivers.demo]
kind = "webhook"
url = "{url}"

[[rules]]
name = "rollout failed"
signal = "rollout.phase.Failed"
above = 0.5
severity = "error"
summary = "A challenger was taken back."

[[rules]]
name = "drift"
keep_firing_for_s = 5
signal = "drift.verdict.drift"
above = 0.5
severity = "warn"
summary = "What people write now is not what the reference holds."
"""

SLOW: Final = (
    "Nothing but its speed was held against it. A machine that is busy with other work makes every "
    "answer slow: run the demo again when it is not."
)
"""Said of a challenger that was taken back for its latency alone."""

_DECIDED: Final = ("Promoting", "Failed")
"""Phases that are entered for what the gates said."""


@dataclass(frozen=True)
class Act:
    """One part of the story and how it ended."""

    title: str
    """What was tried."""
    outcome: str
    """What came of it."""
    seconds: float
    """How long it took."""


class _Alerts:
    """The alerts that came in, shown as they come."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self.taken: list[Mapping[str, Any]] = []

    def __call__(self, alert: Mapping[str, Any]) -> None:
        told = alert.get("data", alert)
        output().print(f"   [bold]alert[/bold]  {told.get('state')}: {told.get('rule')}. "
                       f"{told.get('summary', '')}")  # fmt: skip
        # Shown first: whoever waits goes on to the next act.
        with self._lock:
            self.taken.append(alert)
            self._lock.notify_all()

    def wait(self, rule: str, seconds: float) -> bool:
        """Whether a rule has fired within some seconds."""
        with self._lock:
            return self._lock.wait_for(lambda: any(_rule(each) == rule for each in self.taken),
                                       timeout=seconds)  # fmt: skip


def play(folder: Path, port: int, *, opens: bool, stays: bool) -> None:
    """Tell the whole story.

    Args:
        folder: Emptied first, if it is a demo's own.
        port: Where the dashboard is.
        opens: Whether a browser is opened.
        stays: Whether the server goes on until it is interrupted.

    Raises:
        ConflictError: The folder holds something else, another demo works there, or another
            process has the port.
        GlassboxError: The server could not be started.
    """
    check_port(port)
    alerts = _Alerts()
    with contextlib.ExitStack() as at_end:
        at_end.enter_context(demo_folder(folder))
        at_end.enter_context(_ending_in_order())
        url = at_end.enter_context(taking_alerts(alerts))
        (folder / "alerts.toml").write_text(RULES.format(url=url), encoding="utf-8")
        note("Starting a server with the embedded classifier …")
        began_s = time.monotonic()
        options = ("--classifier", str(_base_run(folder)))
        client = at_end.enter_context(serving(folder, port, _settings(folder), options))
        address = f"http://{HOST}:{port}"
        print_text(f"Dashboard: {address}/rollout (watch it while this goes on)")
        if opens:
            webbrowser.open(f"{address}/rollout")
        traffic = Traffic(client, PER_SECOND)
        at_end.callback(traffic.stop)
        acts = _acts(client, traffic, alerts)
        print_table(
            ["act", "what came of it", Column("seconds", "right")],
            [(each.title, each.outcome, f"{each.seconds:.0f}") for each in acts],
        )
        print_text(f"{traffic.n_answered} requests were answered in "
                   f"{time.monotonic() - began_s:.0f} s, "
                   f"{counted(traffic.n_failed, 'was not', 'were not')}.")  # fmt: skip
        _show_where(folder, address if stays else None)
        if stays:
            note("The traffic goes on until you press Ctrl-C.")
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()


@contextlib.contextmanager
def _ending_in_order() -> Iterator[None]:
    """End as by Ctrl-C when the terminal is closed or somebody asks: the server must not stay."""

    def interrupted(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupted) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _acts(client: "Client", traffic: Traffic, alerts: _Alerts) -> list[Act]:
    traffic.send(_held_out())
    tuned = client.register_version(str(SHIPPED_RUN), name="tuned_v1")
    hasty = client.register_version("glassbox.testing.versions:hasty", name="hasty_v1")
    return [
        _rollout(client, "A better version", tuned.name, "it was tuned on 7,200 texts", alerts),
        _rollout(
            client, "A broken version", hasty.name, "it looked good on somebody's laptop", alerts
        ),
        _drift(client, traffic, alerts),
    ]


def _rollout(client: "Client", title: str, challenger: str, reason: str, alerts: _Alerts) -> Act:
    began_s = time.monotonic()
    output().print(f"\n[bold]{title}[/bold]: {challenger} sees a copy of every request.")
    status = client.start_rollout(challenger, plan=PLAN, reason=reason)
    teller = Teller(lambda words: _tell(time.monotonic() - began_s, f"{'':<12} {words}"))
    n_seen = 0
    # It ends by itself, at the latest when the plan's time is over.
    while status.phase not in ENDED:
        time.sleep(0.3)
        status = client.rollout(status.id)
        for each in status.transitions[n_seen:]:
            teller.news()
            # What the gates said stands in the table below.
            why = each.reason if each.after != "Promoting" else "All gates pass."
            _tell(time.monotonic() - began_s, f"{each.after:<12} {why}")
        n_seen = len(status.transitions)
        if status.phase not in ENDED:
            teller.waits_for(partial(_waited_for, client, status))
    gates = _deciding_gates(status)
    _show_gates(gates)
    if status.phase == "Succeeded":
        return Act(title, f"{challenger} was promoted", time.monotonic() - began_s)
    if _was_only_slow(gates):
        print_text(SLOW)
    was_told = alerts.wait("rollout failed", ALERT_S)
    outcome = f"{challenger} was taken back; {_delivered(was_told)}"
    return Act(title, outcome, time.monotonic() - began_s)


def _drift(client: "Client", traffic: Traffic, alerts: _Alerts) -> Act:
    began_s = time.monotonic()
    output().print("\n[bold]Another kind of text[/bold]: first the same texts as before.")
    traffic.wait(WINDOW // 2)
    reference = client.make_reference(last_n=1000)
    _tell(time.monotonic() - began_s, f"The last {reference.n_rows} answers are the reference.")
    traffic.wait(WINDOW)
    _tell(time.monotonic() - began_s, f"Against it: {_verdict(client.run_drift())}")
    traffic.send(_questions())
    _tell(time.monotonic() - began_s, "Now people ask questions instead.")
    traffic.wait(WINDOW)
    report = client.run_drift()
    _tell(time.monotonic() - began_s, f"Against it: {_verdict(report)}")
    worst = [each for each in report.features if each.drifted][:5]
    print_table(
        ["drifted", "by", Column("effect", "right"), Column("limit", "right")],
        [(each.name, each.effect_name, _short(each.effect), _short(each.limit)) for each in worst],
    )
    was_told = alerts.wait("drift", ALERT_S)
    traffic.send(_held_out())
    outcome = f"{report.verdict.replace('_', ' ')}; {_delivered(was_told)}"
    return Act("Another kind of text", outcome, time.monotonic() - began_s)


def _waited_for(client: "Client", status: "RolloutStatus") -> str:
    return waited_for(status, client.inference_health())


def _tell(seconds: float, words: str) -> None:
    output().print(f"   {seconds:3.0f} s  {words}", highlight=False, markup=False, soft_wrap=True)


def _verdict(report: "DriftReportAnswered") -> str:
    n_drifted = sum(each.drifted for each in report.features)
    n_columns = counted(len(report.features), "column")
    said = f"{report.verdict.replace('_', ' ')}, {n_drifted} of {n_columns}"
    estimate = report.estimate
    if estimate is None or estimate.value is None or estimate.reference is None:
        return f"{said}."
    return (f"{said}; {estimate.metric} estimated without labels {estimate.value:.2f}, "
            f"was {estimate.reference:.2f}.")  # fmt: skip


def _delivered(was_told: bool) -> str:
    return f"the alert {'was delivered' if was_told else 'did not come'}"


def _show_where(folder: Path, address: str | None) -> None:
    """Say where the story can be read again."""
    if address is not None:
        print_table(
            ["look at", "to see"],
            [
                (f"{address}/", "who answers, what fires"),
                (f"{address}/inferences", "each answer, with what the challenger would have said"),
                (f"{address}/rollout", "why the broken one was taken back; below, the better one"),
                (f"{address}/drift", "what changed, column by column"),
                (f"{address}/versions", "who moved which alias, and why"),
            ],
        )
    database = f"sqlite:///{folder / 'glassbox.db'}"
    note(f"Its database and log are in {folder}; read them with the same commands as yours:")
    note(f"  GLASSBOX_STORAGE__URL={database} glassbox rollout why")


def _deciding_gates(status: "RolloutStatus") -> list[GateAnswered]:
    """Return the gates as they stood when it was decided; the bake has gates of its own."""
    decided = [each for each in status.transitions if each.after in _DECIDED]
    kept = decided[-1].evidence.get("gates") if decided else None
    return [GateAnswered.model_validate(each) for each in kept or ()] or list(status.gates)


def _was_only_slow(gates: Sequence[GateAnswered]) -> bool:
    """Return whether nothing but latency failed."""
    failed = [each.name for each in gates if each.verdict == "fail"]
    return bool(failed) and all(name.endswith("latency") for name in failed)


def _show_gates(gates: Sequence[GateAnswered]) -> None:
    print_table(
        [
            "gate",
            "verdict",
            *(Column(each, "right") for each in ("value", "low", "high", "limit", "requests")),
        ],
        [
            (
                each.name,
                each.verdict,
                *map(_short, (each.value, each.low, each.high, each.limit)),
                each.n,
            )
            for each in gates
        ],
    )


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _rule(alert: Mapping[str, Any]) -> str:
    return str(alert.get("data", alert).get("rule"))


def _settings(folder: Path) -> dict[str, object]:
    return {
        "engine.model": "tiny",
        "storage.url": f"sqlite:///{folder / 'glassbox.db'}",
        "paths.versions": folder / "versions",
        "alerts.rules": folder / "alerts.toml",
        "alerts.interval_s": 0.5,
        "rollout.interval_s": 0.5,
        "rollout.noise_floor": 0.05,
        # A short line: evidence comes as requests do, and not all at once.
        "rollout.shadow_queue": 40,
        "drift.min_rows": 300,
        "drift.window": WINDOW,
        "audit.cap": 1000,
    }


def _held_out() -> list[Told]:
    rows = read_json(SHIPPED_RUN / "test_set.json")["rows"]
    return [Told(each["text"], each["label"]) for each in rows]


def _questions() -> list[Told]:
    lines = (SHIPPED_RUN.parent / "facts.jsonl").read_bytes().splitlines()
    return [Told(orjson.loads(each)["prompt"], None) for each in lines[:1000]]


def _base_run(folder: Path) -> Path:
    """Return the shipped run with its untuned model as its classifier."""
    from glassbox.artifacts import Classifier
    from glassbox.confidence.record import base_manifest
    from glassbox.confidence.run import RunFolder

    made = folder / "base-run"
    shutil.copytree(SHIPPED_RUN, made)
    base_manifest(RunFolder(SHIPPED_RUN), Classifier.load(SHIPPED_RUN)).save(made)
    # Registered with the figures of the model that answers, not of the one it was tuned to.
    results = read_json(made / "results.json")
    write_bytes(made / "results.json", orjson.dumps({**results, "final": "base"}))
    return made
