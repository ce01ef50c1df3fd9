"""What ``glassbox pathways forecast`` prints: counted operations, rates and hours, and the plan's.

Knows nothing of how they are counted.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from glassbox.cli.terminal.console import Column, note, print_json, print_table, print_text
from glassbox.wording import counted, size_of

if TYPE_CHECKING:
    from glassbox.pathways.layout import StudyFolder
    from glassbox.pathways.orchestration.forecast import Device, StudyForecast


def show_forecast(
    contexts: int,
    doses: int,
    null: int,
    close: int | None,
    tokens: int,
    responses: int | None,
    *,
    rate: float | None,
    measure: bool,
    json: bool,
) -> None:
    """Print what the source's own study would take, beside what its plan says."""
    from glassbox.pathways.orchestration.forecast import StudySize, forecast_study

    size = StudySize(
        n_contexts=contexts, n_doses=doses, n_null=null, close_texts=close, n_tokens=tokens
    )
    if responses is not None:
        size = replace(size, n_responses=responses)
    device = _device(rate, measure=measure)
    found = forecast_study(size=size, device=device)
    if json:
        print_json(found.to_json())
        return
    alike = replace(size, n_contexts=1, n_doses=1, n_null=0, n_below=0, targets_per_context=1)
    _print(found, forecast_study(size=alike, device=device))
    if close is None:
        least = forecast_study(size=replace(size, close_texts=1), device=device)
        print_text(
            f"Together {duration(least.seconds)} with one text of each pathway looked at closely "
            "(replay.close_texts, here --close 1): cheaper, and less sure, see "
            "docs/explanation/pathways-limits.md."
        )


def show_study_forecast(folder: "StudyFolder", *, json: bool) -> None:
    """Print the forecast that a study's prototype made.

    Raises:
        InvalidData: There is none yet.
        CorruptArtifact: Its file is damaged or of another schema.
    """
    from glassbox.pathways.orchestration.prototype_file import read_prototype

    found = read_prototype(folder.single_feature_test)["forecast"]
    if json:
        print_json(found)
        return
    print_table(
        ["step", Column("time", "right"), Column("peak memory", "right"), Column("files", "right")],
        [
            (
                each["step"],
                duration(each["seconds"]),
                size_of(each["peak_bytes"]),
                size_of(each["disk_bytes"]),
            )
            for each in found["steps"]
        ],
    )
    print_text(
        f"Peak {size_of(found['peak_bytes'])} of {size_of(found['limit_bytes'])} allowed "
        f"({found['memory']}); from one latent's run, so the times are about right at best."
    )


def _device(rate: float | None, *, measure: bool) -> "Device":
    from glassbox.pathways.orchestration.forecast import A40

    if rate is not None:
        return replace(A40, name="your device", matmul_flop_s=rate, origin="measured", source="you")
    if measure:
        from glassbox.pathways.orchestration.rates import measured_device

        return measured_device()
    return A40


def _print(found: "StudyForecast", alike: "StudyForecast") -> None:
    from glassbox.pathways.orchestration.forecast import PLAN_PATHWAYS, PLAN_S

    size, device, shares = found.size, found.device, found.shares
    print_table(
        [
            "step",
            "how much",
            Column("PFLOP", "right", wraps=False),
            Column("here", "right", wraps=False),
            Column("one text, one dose", "right"),
            Column("the plan", "right", wraps=False),
        ],
        [
            (
                step.step,
                step.what,
                f"{step.flop / 1e15:,.1f}",
                duration(step.seconds),
                duration(like.seconds),
                duration(step.plan_s) if step.plan_s is not None else None,
            )
            for step, like in zip(found.steps, alike.steps, strict=True)
        ],
        title=f"{found.model.name}, {counted(size.n_latents, 'latent')} on "
        f"{counted(len(size.layers), 'layer')}",
    )
    print_text(
        f"Together {duration(found.seconds)}, or {duration(alike.seconds)} with one text a target, "
        f"one dose a source and nothing to hold it against, as the plan counts; the plan says "
        f"{duration(PLAN_S)} for all its steps. Only against the null can a pathway be called "
        "verified. Reading fewer responses (tokens.max_responses, here --responses) costs less and "
        "finds rarer tokens less surely. "
        f"{size.n_pathways:,} pathways at most, not {PLAN_PATHWAYS:,}: layer {size.layers[0]} has "
        "nothing below it."
    )
    print_text(
        f"Memory at its peak: {size_of(found.peak_bytes)}, {size_of(found.model.weights_bytes)} of "
        f"them weights, of {size_of(device.memory_bytes)}; the plan says 26 GB and allows 28."
    )
    print_text(
        f"Device: {device.name}, {device.matmul_flop_s / 1e12:,.1f} TFLOP/s for a large matrix "
        f"product ({device.origin}: {device.source}). Share of it: sweep {shares.sweep:g}, replay "
        f"{shares.replay:g}, corpus {shares.corpus:g} ({shares.origin})."
    )
    print_text(
        f"The plan's own method, one forward and backward pass with all SAEs for each latent on "
        f"one text, is {duration(found.literal_s)} of arithmetic at the sweep's rate: most of its "
        f"28 s a latent are not arithmetic."
    )
    note("Operations are counted, hours are operations over rates: nothing here was run.")


def duration(seconds: float) -> str:
    """Return a time for people: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
