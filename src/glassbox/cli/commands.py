"""Which commands there are: the table behind ``glassbox --help``, in its order.

Names each command's module as text, so that nothing is imported until a command runs. Imports none
of them.
"""

from dataclasses import dataclass
from typing import Final

MAIN_JOB = "From labelled texts to a confidence that can be acted on"
"""Panel of the confidence room's commands."""

INTERNALS = "A model with its internals open, and what it says about answers"
"""Panel of the commands that write, verify and serve."""

TECHNIQUES = "Your own functions beside the model"
"""Panel of the commands that run functions."""

ROLLOUT = "The next version in place, without hurting anyone"
"""Panel of the commands about versions and what becomes of them."""

PATHWAYS = "Which latents drive which, and what text sets them off"
"""Panel of the commands about SAE latents."""

DEPLOY = "Where many can reach it"
"""Panel of the commands about bundles, targets and how much of them is needed."""

MACHINE = "This machine"
"""Panel of the commands about the installation."""


@dataclass(frozen=True)
class Entry:
    """Where a command lives and how the overview shows it."""

    name: str
    """As typed after ``glassbox``."""
    target: str
    """``module:attribute`` of the function, or of a Typer app for a group."""
    help: str
    """One line for the overview."""
    panel: str
    """Heading under which the overview lists it."""
    when_interrupted: str = ""
    """What becomes of its work when it is stopped from the keyboard."""


RESUMES: Final = "Finished parts are kept: resume by running the same command."
"""What becomes of work that is kept as it goes."""

ENTRIES: Final[tuple[Entry, ...]] = (
    Entry(
        "demo",
        "glassbox.cli.demo.parts:app",
        "See it all work on the embedded model.",
        MAIN_JOB,
        RESUMES,
    ),
    Entry(
        "evaluate",
        "glassbox.cli.confidence.evaluate:evaluate",
        "Find out how far a model's labels can be trusted, and which to automate.",
        MAIN_JOB,
        RESUMES,
    ),
    Entry(
        "tune",
        "glassbox.cli.confidence.evaluate:tune",
        "Fit LoRA weights to labelled texts.",
        MAIN_JOB,
        RESUMES,
    ),
    Entry(
        "calibrate",
        "glassbox.cli.confidence.results:calibrate",
        "Fit a run's calibrators again.",
        MAIN_JOB,
    ),
    Entry(
        "classify",
        "glassbox.cli.confidence.ask:classify",
        "Label texts with a calibrated confidence, one or a million lines.",
        MAIN_JOB,
    ),
    Entry(
        "logprobs",
        "glassbox.cli.confidence.ask:logprobs",
        "See how one confidence comes about.",
        MAIN_JOB,
    ),
    Entry(
        "charts",
        "glassbox.cli.confidence.results:charts",
        "Draw a run's charts and report.",
        MAIN_JOB,
    ),
    Entry("compare", "glassbox.cli.confidence.results:compare", "Compare two runs.", MAIN_JOB),
    Entry(
        "threshold",
        "glassbox.cli.confidence.results:threshold",
        "Choose a confidence to automate from, with a guarantee.",
        MAIN_JOB,
    ),
    Entry(
        "generate",
        "glassbox.cli.introspection.generate:generate",
        "Write a text and see how sure the model was of every token.",
        INTERNALS,
    ),
    Entry(
        "verify",
        "glassbox.cli.introspection.verify:app",
        "Find out whether an answer can be believed.",
        INTERNALS,
    ),
    Entry(
        "probes",
        "glassbox.cli.introspection.probes:app",
        "Train linear probes on hidden states, and look at them.",
        INTERNALS,
    ),
    Entry("serve", "glassbox.cli.server.serve:serve", "Serve the model over HTTP.", INTERNALS),
    Entry(
        "technique",
        "glassbox.cli.techniques.technique:app",
        "Run a function of yours, or a built-in one, on the resident model.",
        TECHNIQUES,
        "A run under way was cancelled; the model stays resident.",
    ),
    Entry(
        "mcp",
        "glassbox.cli.techniques.mcp:mcp",
        "Give an agent the model, over the Model Context Protocol.",
        TECHNIQUES,
    ),
    Entry(
        "versions",
        "glassbox.cli.rollout.versions:app",
        "Register versions of a model, and say which one answers.",
        ROLLOUT,
    ),
    Entry(
        "rollout",
        "glassbox.cli.rollout.rollouts:app",
        "Let a challenger become champion step by step, or find out why it did not.",
        ROLLOUT,
    ),
    Entry(
        "audit",
        "glassbox.cli.rollout.audit:app",
        "The kept predictions: look at them, check them, remove them.",
        ROLLOUT,
    ),
    Entry(
        "drift",
        "glassbox.cli.rollout.drift:app",
        "What comes now, compared with what came before.",
        ROLLOUT,
    ),
    Entry(
        "alerts",
        "glassbox.cli.rollout.alerts:app",
        "Who is told when something is wrong, and whether it arrived.",
        ROLLOUT,
    ),
    Entry(
        "pathways",
        "glassbox.cli.pathways.study:app",
        "From a patching study to verified pathways between SAE latents.",
        PATHWAYS,
        RESUMES,
    ),
    Entry(
        "sae",
        "glassbox.cli.pathways.sae:app",
        "Look at sparse autoencoders, and train some.",
        PATHWAYS,
    ),
    Entry(
        "bundle",
        "glassbox.cli.deploy.bundle:app",
        "Pack all that is served into one hashed folder or archive, and check it.",
        DEPLOY,
    ),
    Entry(
        "deploy",
        "glassbox.cli.deploy.targets:app",
        "Put the server on SageMaker, Modal or Ray, and take it down again.",
        DEPLOY,
    ),
    Entry(
        "plan",
        "glassbox.cli.deploy.plan:plan",
        "How many instances some traffic needs, what requests will feel, what they cost.",
        DEPLOY,
    ),
    Entry(
        "fleet", "glassbox.cli.server.fleet:fleet", "The servers that share one database.", DEPLOY
    ),
    Entry("keys", "glassbox.cli.server.keys:app", "API keys of the server.", MACHINE),
    Entry(
        "config", "glassbox.cli.machine.config:app", "Settings and where they come from.", MACHINE
    ),
    Entry(
        "doctor",
        "glassbox.cli.machine.doctor:doctor",
        "What this machine can do, and what to do about what is missing.",
        MACHINE,
    ),
)
"""Every command, in the order in which help lists them."""
