"""``glassbox deploy sagemaker``: an endpoint planned, made, looked at, taken back and removed.

Parses, makes one call, prints. Knows nothing of AWS.
"""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from glassbox.cli.arguments import options
from glassbox.cli.arguments.named import named_folders, named_values
from glassbox.cli.terminal.console import note, print_json
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import GlassboxError, InvalidValue, Unreachable
from glassbox.runtime import Runtime
from glassbox.wording import counted

if TYPE_CHECKING:
    from glassbox.deploy.prices import Prices
    from glassbox.deploy.sagemaker.aws import Aws
    from glassbox.deploy.sagemaker.plan import Plan
    from glassbox.settings import EndpointSettings

RESTS: Final = {
    "apply": "The same command goes on from there; --destroy removes it.",
    "rollback": "The same command goes on from there.",
    "destroy": "What is left stays; the same command goes on from there.",
}
"""What can be done where a command stops before its end."""

UNANSWERED: Final = (KeyboardInterrupt, Unreachable)
"""What ends a request without telling whether it was carried out."""


def sagemaker(
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be done; the default. Changes nothing.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; again after a failure, and it goes on.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show how the endpoint is.")] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the configuration before.")
    ] = False,
    destroy: Annotated[
        bool, typer.Option("--destroy", help="Remove everything that carries our tag.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", "-b", help="Folder or archive of 'glassbox bundle make'."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the endpoint and of all that is its.")
    ] = None,
    region: Annotated[str | None, typer.Option("--region", help="Region of AWS.")] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Profile of AWS's own configuration.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="Container image in ECR, in the same region.")
    ] = None,
    role: Annotated[
        str | None, typer.Option("--role", help="ARN of the role that the container runs under.")
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option("--artifacts", help="s3://bucket/prefix for bundles and adapters."),
    ] = None,
    instance_type: Annotated[
        str | None, typer.Option("--instance-type", help="Kind of machine.")
    ] = None,
    instances: Annotated[
        int | None, typer.Option("--instances", help="Machines at first.", min=1)
    ] = None,
    min_instances: Annotated[
        int | None, typer.Option("--min-instances", help="Fewest machines.", min=1)
    ] = None,
    max_instances: Annotated[
        int | None, typer.Option("--max-instances", help="Most machines.", min=1)
    ] = None,
    scaling: Annotated[
        str | None,
        typer.Option("--scaling", help="What machines follow: 'concurrency', 'gpu' or 'off'."),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter",
            help="NAME=FOLDER of an adapter beside the bundle's, packed and put for requests to "
            "name; may be repeated.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", help="NAME=VALUE for the container; may be repeated."),
    ] = None,
    shadow: Annotated[
        Path | None,
        typer.Option(
            "--shadow",
            help="Bundle that gets copies of requests and never answers: a shadow "
            "variant. Not exercised against AWS.",
        ),
    ] = None,
    components: Annotated[
        bool,
        typer.Option(
            "--components",
            help="Base and adapters as inference components. Not exercised against AWS.",
        ),
    ] = False,
    to: Annotated[
        str | None, typer.Option("--to", help="With --rollback: the configuration to go to.")
    ] = None,
    with_artifacts: Annotated[
        bool,
        typer.Option("--with-artifacts", help="With --destroy: bundles and adapters go, too."),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline", help="With --plan: ask nobody, as for an account where nothing is."
        ),
    ] = False,
    prices: Annotated[
        Path | None, typer.Option("--prices", help="File of prices in place of the shipped ones.")
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait", help="Longest wait for one thing, in seconds.", min=0.0)
    ] = 3600.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before changing.")] = False,
    json: options.AsJson = False,
) -> None:
    """Put a bundle behind a SageMaker endpoint, change it, and take it down again.

    Further choices (scaling targets, the alarm, VPC, keys) are settings of the section endpoint.
    Exercised against stand-ins of AWS, and every request against AWS's own description of its
    services; never in an account.
    """
    from glassbox.cli.deploy.sagemaker_showing import show_status
    from glassbox.deploy.sagemaker import deployment

    mode = _mode(plan=plan, apply=apply, status=status, rollback=rollback, destroy=destroy)
    _check_options(mode, offline=offline, to=to, with_artifacts=with_artifacts)
    settings = Runtime.load(
        {
            "endpoint.name": name,
            "endpoint.region": region,
            "endpoint.profile": profile,
            "endpoint.image": image,
            "endpoint.role": role,
            "endpoint.artifacts": artifacts,
            "endpoint.instance_type": instance_type,
            "endpoint.instances": instances,
            "endpoint.min_instances": min_instances,
            "endpoint.max_instances": max_instances,
            "endpoint.scaling": scaling,
            "endpoint.components": components or None,
        }
    ).settings.endpoint
    if mode == "status":
        found = deployment.status(settings, deployment.signed_in(settings))
        show_status(found, as_json=json)
        if found.state != "InService":
            raise typer.Exit(ExitCode.INCOMPLETE)
        return
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glassbox-")))
        aws = None if offline else deployment.signed_in(settings)
        if mode == "destroy":
            steps = deployment.teardown(settings, _signed(aws), with_artifacts=with_artifacts)
        elif mode == "rollback":
            steps = deployment.way_back(settings, _signed(aws), to, prices=_prices(prices))
        else:
            ingredients = deployment.Ingredients(
                _needed(bundle),
                shadow,
                {key: Path(each) for key, each in named_folders("--adapter", adapter).items()},
                named_values("--env", env),
            )
            steps = _planned(settings, ingredients, scratch, aws, prices)
        _show_and_do(steps, mode, aws, wait_s=wait_s, yes=yes, as_json=json)


def _planned(
    settings: "EndpointSettings",
    ingredients: object,
    scratch: Path,
    aws: "Aws | None",
    prices: Path | None,
) -> "Plan":
    from glassbox.deploy.sagemaker import deployment

    assert isinstance(ingredients, deployment.Ingredients)
    parts = deployment.gather(settings, ingredients, scratch)
    table = _prices(prices)
    if aws is None:
        region = settings.region or "us-east-1"
        return deployment.planned_offline(settings, parts, region, prices=table)
    return deployment.planned(settings, parts, aws, prices=table)


def _prices(path: Path | None) -> "Prices":
    from glassbox.deploy.prices import SHIPPED, read_prices

    return SHIPPED if path is None else read_prices(path)


def _show_and_do(
    steps: "Plan", mode: str, aws: "Aws | None", *, wait_s: float, yes: bool, as_json: bool
) -> None:
    from glassbox.cli.deploy.sagemaker_showing import Shower, plan_json, show_plan
    from glassbox.deploy.sagemaker.carrying_out import carry_out
    from glassbox.deploy.sagemaker.waiting import Patience

    if not as_json:
        show_plan(steps, was_asked=aws is not None)
    if mode == "plan" or steps.is_done:
        if as_json:
            print_json(plan_json(steps))
        elif not steps.is_done:
            note(
                "Nothing was changed. Do it with --apply."
                if aws
                else "AWS was not asked. Without --offline the plan sees what is there already."
            )
        return
    if not yes:
        _ask(mode, steps)
    shower = Shower(len(steps.actions), RESTS[mode])
    try:
        carry_out(steps.actions, _signed(aws), shower, Patience(wait_s=wait_s))
    except (GlassboxError, KeyboardInterrupt) as error:
        note(shower.so_far(is_known=not isinstance(error, UNANSWERED)))
        raise
    if as_json:
        print_json({**plan_json(steps), "is_done": True})
    else:
        note(f"Done: {counted(len(steps.actions), 'step')}.")


def _mode(**given: bool) -> str:
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise InvalidValue("mode", " ".join(f"--{each}" for each in chosen), "one of them")
    return chosen[0] if chosen else "plan"


def _check_options(mode: str, *, offline: bool, to: str | None, with_artifacts: bool) -> None:
    for option, is_given, its_mode in (
        ("--offline", offline, "plan"),
        ("--to", to is not None, "rollback"),
        ("--with-artifacts", with_artifacts, "destroy"),
    ):
        if is_given and mode != its_mode:
            raise InvalidValue(option, f"with --{mode}", f"with --{its_mode} only")


def _ask(mode: str, steps: "Plan") -> None:
    if not sys.stdin.isatty():
        raise InvalidValue(
            f"--{mode}",
            counted(len(steps.actions), "step"),
            "confirmed, and there is no terminal to ask",
            remedy="Look at it with --plan, then give --yes.",
        )
    what = counted(len(steps.actions), "step")
    typer.confirm(
        f"Do {'this' if len(steps.actions) == 1 else 'these'} {what}?", abort=True, err=True
    )


def _signed(aws: "Aws | None") -> "Aws":
    assert aws is not None, "only a plan is made offline"
    return aws


def _needed(bundle: Path | None) -> Path:
    if bundle is None:
        raise InvalidValue(
            "--bundle", None, "a bundle's folder or archive",
            remedy="Make one with 'glassbox bundle make'.",
        )  # fmt: skip
    return bundle
