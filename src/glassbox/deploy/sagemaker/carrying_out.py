"""A plan's steps done one after another; what was done is known wherever it stops.

Every step can be done again: names carry digests, files are looked for before they are put, what is
to be removed may be gone. So the same command resumes. Knows AWS; knows nothing of why.
"""

from collections.abc import Sequence

from glassbox.deploy.sagemaker.aws import Aws
from glassbox.deploy.sagemaker.calls import Action, Put, Remove, Wait
from glassbox.deploy.sagemaker.storing import put_all, remove_all
from glassbox.deploy.sagemaker.waiting import Patience, wait_for


class Watcher:
    """Is told of what happens, and keeps what was done; shows nothing itself."""

    def __init__(self) -> None:
        self.done: list[Action] = []
        """Steps that are done."""

    def starts(self, action: Action) -> None:
        """Take note of a step that begins."""

    def looked(self, wait: Wait, state: str, passed_s: float) -> None:
        """Take note of a look at something that is waited for."""

    def put(self, done_bytes: int, all_bytes: int) -> None:
        """Take note of bytes that were put."""

    def ends(self, action: Action) -> None:
        """Take note of a step that is done."""
        self.done.append(action)


def carry_out(
    actions: Sequence[Action],
    aws: Aws,
    watcher: Watcher | None = None,
    patience: Patience | None = None,
) -> Watcher:
    """Do the steps in order and return who watched.

    Args:
        actions: The steps.
        aws: Where.
        watcher: Is told of each step.
        patience: How long things are waited for.

    Raises:
        GlassboxError: A step failed; ``watcher.done`` has the ones before it, and a plan made anew
            goes on from there.
    """
    watcher, patience = watcher or Watcher(), patience or Patience()
    for action in actions:
        watcher.starts(action)
        _carry_out(action, aws, watcher, patience)
        watcher.ends(action)
    return watcher


def _carry_out(action: Action, aws: Aws, watcher: Watcher, patience: Patience) -> None:
    if isinstance(action, Wait):
        waited = action
        wait_for(waited, aws, patience, lambda state, s: watcher.looked(waited, state, s))
    elif isinstance(action, Put):
        put_all(action, aws, watcher.put)
    elif isinstance(action, Remove):
        remove_all(action, aws)
    elif action.skip_if_absent:
        aws.find(action)
    else:
        aws.call(action)
