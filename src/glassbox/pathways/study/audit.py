"""Step 0: is the patching study what it should be, and what are its effects worth?

All checkpoints and all logs are read. Whatever is wrong is listed, nothing is raised for it, and
nothing stops at the first fault; the report says whether the study is fit to go on with.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from glassbox.pathways.sections import AuditSection
from glassbox.pathways.study.checkpoints import (
    Checkpoints,
    causal_by_layer,
    read_checkpoints,
)
from glassbox.pathways.study.conditions import CONDITIONS, DECISION
from glassbox.pathways.study.faults import Fault, FaultList
from glassbox.pathways.study.report import AuditReport
from glassbox.pathways.study.responses import NO_TRIAL, Responses, read_responses
from glassbox.pathways.study.weighing import weigh
from glassbox.progress import Progress
from glassbox.wording import counted, listed

_MOST_NAMED = 12


def audit_study(
    checkpoints: Path,
    response_logs: Path,
    settings: AuditSection,
    *,
    progress: Progress | None = None,
) -> AuditReport:
    """Return everything that is wrong with a study's files, and the evidence in them.

    Args:
        checkpoints: Folder of the checkpoints.
        response_logs: Folder of the response logs.
        settings: What the study is held to.
        progress: Takes bytes of the logs read and in all.
    """
    errors, warnings = FaultList(), FaultList()
    found = read_checkpoints(checkpoints, errors, warnings)
    said = {name: each.outcome for name, each in found.records.items() if each.outcome}
    responses = read_responses(
        response_logs,
        errors,
        warnings,
        outcome=settings.outcome,
        # The configuration's word counts for more than the records', unless it is the default.
        outcomes=said if settings.outcome == DECISION else {},
        progress=progress,
    )
    counts = condition_counts(responses)
    _check_counts(responses, counts, settings, warnings)
    joinable, logs_only = _check_join(found, responses, errors, warnings)
    _check_outcomes(responses, warnings)
    latents, statistics = weigh(found, responses, settings, errors.latents, errors, warnings)
    return AuditReport(
        errors=errors.listed,
        warnings=warnings.listed,
        error_counts=errors.counts,
        warning_counts=warnings.counts,
        files={
            "n_checkpoint_files": len(found.files),
            "n_results": found.n_results,
            "n_repeated_results": found.n_repeated,
            "n_response_files": len(responses.files),
            "n_responses": responses.n_records,
            "n_usable_responses": int(responses.first.sum()),
            "n_response_bytes": responses.n_bytes,
        },
        causal_by_layer=causal_by_layer(found.records.values()),
        n_joinable=joinable,
        condition_counts={
            name: int(counts[:, place].sum()) for place, name in enumerate(CONDITIONS)
        },
        latents=latents,
        statistics=statistics,
        logs_only=logs_only,
    )


def condition_counts(responses: Responses) -> np.ndarray:
    """Return how many usable responses each latent has under each condition, [latents, six]."""
    shape = (len(responses.names), len(CONDITIONS))
    counts = np.zeros(shape, dtype=np.int64)
    used = responses.first
    np.add.at(counts, (responses.latent[used], responses.condition[used]), 1)
    return counts


def _check_counts(
    responses: Responses, counts: np.ndarray, settings: AuditSection, warnings: FaultList
) -> None:
    """Hold the trials of each latent and condition against what the study meant to have."""
    for row, name in enumerate(responses.names):
        missing = [each for each, n in zip(CONDITIONS, counts[row], strict=True) if n == 0]
        if missing:
            words = f"{name} has no response under {', '.join(missing)}"
            warnings.add(Fault("missing-condition", words, latent=name))
        for condition, n in zip(CONDITIONS, counts[row].tolist(), strict=True):
            words = (
                f"{name}, {condition}: {counted(n, 'trial')}; about {settings.expected_trials} "
                "expected"
            )
            if 0 < n < settings.least_trials:
                warnings.add(Fault("few-trials", words, latent=name, condition=condition))
            elif n > 2 * settings.expected_trials:
                warnings.add(Fault("many-trials", words, latent=name, condition=condition))


def _check_join(
    found: Checkpoints, responses: Responses, errors: FaultList, warnings: FaultList
) -> tuple[int, tuple[str, ...]]:
    """Hold the latents of checkpoints and logs against each other."""
    logged = set(responses.names)
    known = set(found.records) | found.faulty
    causal = [name for name, each in found.records.items() if each.is_causal]
    joinable = [name for name in causal if name in logged]
    if known and logged and not known & logged:
        words = (
            "checkpoints and logs have no latent in common: "
            f"{listed([*found.records], _MOST_NAMED)} there, "
            f"{listed(responses.names, _MOST_NAMED)} here"
        )
        errors.add(Fault("no-overlap", words))
    elif logged:
        for name in causal:
            if name not in logged:
                words = f"{name} is called causal and has no response in the logs"
                warnings.add(Fault("not-in-logs", words, latent=name))
    logs_only = tuple(name for name in responses.names if name not in known)
    if known & logged:
        for name in logs_only:
            words = f"{name} has responses and no checkpoint record"
            warnings.add(Fault("not-in-checkpoints", words, latent=name))
    if found.records and not causal:
        warnings.add(Fault("no-causal-latent", "no latent is called causal"))
    return len(joinable), logs_only


def _check_outcomes(responses: Responses, warnings: FaultList) -> None:
    """Tell of what the statistics will have to do without."""
    used = responses.first
    n_used = int(used.sum())
    if n_used == 0:
        return
    unread = int(np.isnan(responses.outcome[used]).sum())
    if unread == n_used:
        warnings.add(Fault("no-outcomes", "no response has an outcome: effects are not recomputed"))
    elif unread > 0.2 * n_used:
        words = f"{unread:,} of {counted(n_used, 'response')} have no outcome that can be read"
        warnings.add(Fault("unread-outcomes", words))
    without = int((responses.trial[used] == NO_TRIAL).sum())
    if without:
        words = f"{without:,} of {n_used:,} responses do not number their trial"
        warnings.add(Fault("no-trial-numbers", words))
    promptless = int((responses.prompt[used] == 0).sum())
    if promptless:
        words = f"{promptless:,} of {n_used:,} responses do not have their prompt"
        warnings.add(Fault("no-prompts", words))


def error_summary(report: AuditReport) -> str:
    """Return the kinds of errors with their counts, in a line."""
    return ", ".join(f"{count:,} × {code}" for code, count in Counter(report.error_counts).items())
