"""Waiting for an endpoint or a component, and saying what became of it.

Knows AWS's states; knows no plan.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from glassbox.deploy.sagemaker.aws import Aws
from glassbox.deploy.sagemaker.calls import Wait
from glassbox.deploy.sagemaker.observed import MOVING, describe_component, describe_endpoint
from glassbox.errors import CapacityError, ConflictError, DeadlineExceeded, GlassboxError

LOOK_EVERY_S: Final = 10.0
"""Seconds between two looks at something that is waited for."""

WAIT_S: Final = 3600.0
"""Longest wait for one thing: a bundle may take 30 minutes to fetch, a start 15."""

_NO_MACHINES = ("insufficientinstancecapacity", "insufficient capacity", "unable to provision")


@dataclass(frozen=True)
class Patience:
    """How long things are waited for."""

    wait_s: float = WAIT_S
    """Longest wait for one thing."""
    every_s: float = LOOK_EVERY_S
    """Seconds between two looks."""
    sleep: Callable[[float], None] = time.sleep
    """Waits."""
    clock: Callable[[], float] = time.monotonic
    """Seconds that go by."""


def wait_for(
    wait: Wait, aws: Aws, patience: Patience, report: Callable[[str, float], None]
) -> None:
    """Return once something is in the state that is waited for.

    Args:
        wait: What is waited for.
        aws: Where.
        patience: How long.
        report: Told of each look: the state, and seconds so far.

    Raises:
        ConflictError: It failed, went away, or was taken back.
        CapacityError: AWS has no machines for it.
        DeadlineExceeded: It took too long.
    """
    is_endpoint = wait.thing == "endpoint"
    call = describe_endpoint(wait.name) if is_endpoint else describe_component(wait.name)
    key = "EndpointStatus" if is_endpoint else "InferenceComponentStatus"
    began = patience.clock()
    while True:
        found = aws.find(call)
        state = "" if found is None else str(found[key])
        passed = patience.clock() - began
        report(state or "gone", passed)
        if _is_over(wait, state, found):
            return
        if passed >= patience.wait_s:
            raise DeadlineExceeded(
                f"The {wait.thing} {wait.name} is still {state} after {passed:.0f} s. It goes on "
                "without us: look with --status, and run the same command again to finish."
            )
        patience.sleep(patience.every_s)


def _is_over(wait: Wait, state: str, found: Any) -> bool:
    if wait.state == "gone":
        if state == "Failed":
            raise _failed(wait, found)
        return not state
    if not state or state == "Deleting":
        raise ConflictError(
            f"The {wait.thing} {wait.name} was removed meanwhile by somebody else. Run the same "
            "command again to make it anew."
        )
    if state in MOVING:
        return False
    if wait.state == "settled":
        return True
    if state == "Failed":
        raise _failed(wait, found)
    if state == "UpdateRollbackFailed":
        raise ConflictError(
            f"The update of {wait.name} failed, and so did going back: old and new machines run "
            f"mixed. {found.get('FailureReason', '')} Apply again, or roll back with --rollback."
        )
    if wait.config and found["EndpointConfigName"] != wait.config:
        raise ConflictError(
            f"AWS took the update of {wait.name} back: {found['EndpointConfigName']} answers "
            "still. "
            f"{found.get('FailureReason') or 'The alarm rang, or the new machines did not start.'} "
            f"Look into the log group /aws/sagemaker/Endpoints/{wait.name}."
        )
    return state == "InService"


def _failed(wait: Wait, found: Any) -> GlassboxError:
    reason = str(found.get("FailureReason") or "AWS gives no reason")
    told = f"The {wait.thing} {wait.name} failed: {reason}"
    if any(words in reason.lower() for words in _NO_MACHINES):
        return CapacityError(
            f"{told} AWS has no such machines free now. Try later, another instance type or "
            "region; the same command removes what failed and makes it anew."
        )
    return ConflictError(
        f"{told} Look into the log group /aws/sagemaker/Endpoints/{wait.name}; once the cause is "
        "gone, the same command removes what failed and makes it anew."
    )
