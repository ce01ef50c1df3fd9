"""The steps that read files and need no model: the audit of a study, and the choice of latents."""

from glassbox.errors import InvalidData
from glassbox.pathways.layout import data_folders
from glassbox.pathways.orchestration.running import Done, file_inputs, folder_input
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.shards import StepKey
from glassbox.pathways.study.audit import audit_study
from glassbox.pathways.study.checkpoints import PATTERN as CHECKPOINTS
from glassbox.pathways.study.faults import FaultList
from glassbox.pathways.study.prompts_sample import sample_prompts, write_prompts
from glassbox.pathways.study.report_file import read_report, write_report
from glassbox.pathways.study.responses import PATTERN as LOGS
from glassbox.pathways.study.responses import read_responses
from glassbox.pathways.study.select import select_latents, with_bootstrap
from glassbox.pathways.study.selection_file import write_selection
from glassbox.wording import counted


def data_inputs(place: Workplace) -> dict[str, str]:
    """Return the digests of the checkpoints and of the response logs.

    Raises:
        InvalidData: There are none of either.
    """
    checkpoints, logs = data_folders(place.config)
    made = (
        "name one in data.checkpoints and data.response_logs, or run 'glassbox pathways "
        "experiment' first"
    )
    return {
        "checkpoints": folder_input(checkpoints, CHECKPOINTS, made),
        "response_logs": folder_input(logs, LOGS, made),
    }


def selection_inputs(place: Workplace) -> dict[str, str]:
    """Return the digests of the audit's report and of what it read."""
    return {
        **data_inputs(place),
        **file_inputs({place.folder.data_validation: "audit"}),
    }


def audit(place: Workplace, key: StepKey) -> Done:
    """Check the whole study; its faults are the result, never an exception."""
    del key
    checkpoints, logs = data_folders(place.config)
    with place.stages("Reading checkpoints and response logs") as report:
        found = audit_study(checkpoints, logs, place.config.audit, progress=report)
    outputs = write_report(found, place.folder.audit)
    for said in (*found.errors[:3], *found.warnings[:3]):
        place.say(str(said))
    words = (
        f"{counted(len(found.latents), 'latent')}, {found.n_causal:,} called causal; "
        f"{counted(found.n_errors, 'error')}, {counted(found.n_warnings, 'warning')}"
    )
    return Done(
        outputs,
        {
            "n_latents": len(found.latents),
            "n_causal": found.n_causal,
            "n_errors": found.n_errors,
            "n_warnings": found.n_warnings,
            "validated": found.validated,
        },
        words,
    )


def select(place: Workplace, key: StepKey) -> Done:
    """Choose the latents that go on, and a representative prompt of each.

    Raises:
        InvalidData: The audit found errors, and ``audit.despite_errors`` is not set.
        NotEnoughData: No latent is left.
    """
    del key
    config, folder = place.config, place.folder
    _, logs = data_folders(config)
    selection = select_latents(read_report(folder.audit), config.select, config.audit)
    if not selection.latents:
        raise InvalidData("no latent was selected", source=str(folder.causal_features))
    with place.stages("Reading the selected latents' responses") as report:
        responses = read_responses(
            logs, FaultList(), FaultList(), outcome=config.audit.outcome, progress=report
        )
    selection = with_bootstrap(selection, responses, seed=config.audit.seed)
    write_selection(selection, folder.causal_features)
    write_prompts(sample_prompts(selection, responses, logs), folder.prompts_sample)
    expected = selection.expected_by_chance
    words = (
        f"{counted(len(selection.latents), 'latent')} on "
        f"{counted(len(selection.layers), 'layer')}; "
        f"chance alone would give {expected:,.1f} as large"
    )
    return Done(
        (folder.causal_features, folder.prompts_sample),
        {"n_latents": len(selection.latents), "n_expected_by_chance": expected},
        words,
    )
