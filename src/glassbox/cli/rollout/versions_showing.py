"""How ``glassbox versions`` shows versions, aliases and history. Decides nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from glassbox.cli.arguments.moments import to_minute
from glassbox.cli.terminal.console import Column, print_table, print_text
from glassbox.rollout.version import AliasMove, Snapshot, Version
from glassbox.wording import listed, with_interval

KINDS = {
    "llm-classifier": "LLM classifier",
    "sklearn": "scikit-learn",
    "callable": "Python function",
}
"""Kinds as people read them."""


def version_json(version: Version, snapshot: Snapshot) -> dict[str, Any]:
    """Return a version with its address and aliases, as JSON."""
    return {**vars(version), "uri": version.uri, "aliases": snapshot.aliases_of(version)}


def summary_of(version: Version) -> str:
    """Return in a few words what a version is."""
    known = version.metadata
    words = KINDS[version.kind]
    match version.kind:
        case "llm-classifier":
            words += f" on {known.get('base', {}).get('path', '?')}"
        case "sklearn":
            words += f" {known.get('class', '')}"
        case "callable":
            words += f" {version.source.rpartition('/')[2]}"
    labels = known.get("labels")
    return f"{words}, {len(labels)} labels" if labels else words


def measured_of(version: Version) -> str | None:
    """Return a version's accuracy and calibration error where its evaluation told them."""
    metrics = version.metadata.get("metrics", {})
    parts = [
        f"{short} {estimate:.3f}"
        for short, name in (("accuracy", "accuracy"), ("ECE", "ece"))
        if (estimate := metrics.get(name)) is not None
    ]
    return ", ".join(parts) or None


def show_list(versions: Sequence[Version], snapshot: Snapshot) -> None:
    """Print versions as a table."""
    print_table(
        [
            Column("name", wraps=False),
            Column("address", wraps=False),
            "aliases",
            "what it is",
            "measured",
            Column("registered", wraps=False),
        ],
        [
            (
                each.name,
                each.uri,
                ", ".join(snapshot.aliases_of(each)),
                summary_of(each),
                measured_of(each),
                to_minute(each.created_s),
            )
            for each in versions
        ],
    )


def show_version(version: Version, snapshot: Snapshot) -> None:
    """Print everything that is known of a version."""
    known = version.metadata
    threshold = known.get("threshold") or {}
    rows: list[tuple[str, object]] = [
        ("name", version.name),
        ("address", version.uri),
        ("aliases", ", ".join(snapshot.aliases_of(version)) or "none"),
        ("what it is", summary_of(version)),
        ("registered", to_minute(version.created_s)),
        ("digest", version.digest),
        ("source", None if version.source == version.digest else version.source),
        ("labels", ", ".join(known.get("labels") or ())),
        ("takes", _takes(known.get("input_schema"))),
        ("measured", _measured_at_length(known)),
        ("calibrator", known.get("calibrator")),
        ("threshold", f"{threshold['value']:.3f}" if "value" in threshold else None),
        ("data digest", known.get("data", {}).get("digest")),
        ("loaded once", _load_check(known.get("load_check"))),
        ("libraries", ", ".join(f"{k} {v}" for k, v in known.get("libraries", {}).items())),
    ]
    print_table(["what", "value"], [row for row in rows if row[1]])


def show_history(lines: Sequence[AliasMove]) -> None:
    """Print alias moves as a table, newest first."""
    print_table(
        [
            Column("no.", align="right"),
            Column("when", wraps=False),
            "model",
            "alias",
            Column("from", align="right"),
            Column("to", align="right"),
            "who",
            "why",
        ],
        [
            (
                line.sequence,
                to_minute(line.time_s),
                line.model,
                line.alias,
                "not set" if line.before is None else line.before,
                "not set" if line.after is None else line.after,
                line.actor,
                line.reason,
            )
            for line in lines
        ],
    )


def show_move(line: AliasMove, version: Version | None, before: Version | None) -> None:
    """Print what a move has changed."""
    now = "names no version any more" if version is None else f"is {version.name}"
    was = "was not set" if before is None else f"was {before.name}"
    print_text(f"{line.alias} of {line.model!r} {now}; it {was}.")


def _takes(schema: Mapping[str, Any] | None) -> str:
    if schema is None:
        return "any JSON"
    return listed([f"{each['name']} ({each['type']})" for each in schema["features"]], 12)


def _measured_at_length(known: Mapping[str, Any]) -> str | None:
    found = []
    for name, value in known.get("metrics", {}).items():
        around = known.get("intervals", {}).get(name)
        figure = with_interval(value, around["low"], around["high"]) if around else f"{value:.3f}"
        found.append(f"{name} {figure}")
    where = f" on {known.get('n_rows')} rows of the {known.get('measured_on')} part"
    return "; ".join(found) + where if found else None


def _load_check(check: Mapping[str, Any] | None) -> str | None:
    if check is None:
        return None
    words = f"in {check['load_s']:.1f} s"
    return f"{words}, and answered {check['prediction']:.4f}" if "prediction" in check else words
