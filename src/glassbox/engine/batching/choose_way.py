"""Whether a loaded model can join a running batch: decided by trying, like the scoring path.

Some short rows are read in pieces and written on in one batch, and what comes out is compared with
the library's ordinary forward pass. One that cannot is tried alone. Knows models; knows nothing of
requests.
"""

import random
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from glassbox.engine.batching.plain_generation import go_on
from glassbox.engine.batching.slots import Slots
from glassbox.engine.batching.stepper import Part, Stepper
from glassbox.engine.model.distributions import logprob_gap
from glassbox.engine.scoring.choose_path import FAILURES, expected_windows, tolerance_of
from glassbox.engine.scoring.forward import prefix_states
from glassbox.types import TokenIds

_N_ROWS = 3
_N_ALONE = 6
_TRIAL_BYTES = 2**40
"""No bound: the trial takes three short rows."""


def choose_slots(
    model: PreTrainedModel, *, context: int, budget_bytes: int
) -> tuple[Slots | None, str]:
    """Return room for a model's running rows; None, and why, where it answers one at a time.

    Args:
        model: The library's model; its scoring path is the packed one.
        context: Most tokens of a row.
        budget_bytes: Most memory for keys and values.
    """
    config = model.config.get_text_config()
    with torch.inference_mode():
        states = prefix_states(model, (0, 0))
        shapes = {tuple(part.shape) for pair in states.values() for part in pair}
        if len(shapes) != 1 or set(states) != set(range(int(config.num_hidden_layers))):
            return None, "its layers keep keys and values of different sizes"
        (kv_heads, _, d_head), *_ = shapes
        slots = Slots(
            len(states), kv_heads, d_head,
            dtype=states[0][0].dtype, device=model.device, budget_bytes=_TRIAL_BYTES,
        )  # fmt: skip
        reason = _steps_differ(model, slots, context)
        slots.release()
        slots.budget_bytes = budget_bytes
    return (None, reason) if reason else (slots, "")


def goes_on(model: PreTrainedModel) -> bool:
    """Return whether a model that answers alone goes on from what it keeps, token by token.

    Models without keys and values, and those whose state the library keeps in another form, do
    not: each of their tokens costs a pass over the whole text.

    Args:
        model: The library's model.
    """
    draw = random.Random(0)
    d_vocab = int(model.config.get_text_config().vocab_size)
    tokens = tuple(draw.randrange(d_vocab) for _ in range(_N_ALONE))
    cache: Any = None
    with torch.inference_mode():
        whole = model(input_ids=torch.tensor([tokens], device=model.device), use_cache=False)
        try:
            for part in (tokens[:-2], tokens[-2:-1]):
                cache = go_on(model, part, cache)[2]
            logits, _, cache = go_on(model, tokens[-1:], cache)
        except FAILURES:
            return False
    gap = logprob_gap(logits[-1:], whole.logits[0, -1:])
    return cache is not None and gap <= tolerance_of(model.dtype)


def _steps_differ(model: PreTrainedModel, slots: Slots, context: int) -> str:
    """Return how stepping differs from the library's own pass, if it does."""
    d_vocab = int(model.config.get_text_config().vocab_size)
    draw = random.Random(0)
    most = max(6, min(16, context // 4))
    rows = [
        tuple(draw.randrange(d_vocab) for _ in range(n)) for n in (most, most // 2 + 2, most - 1)
    ]
    slots.reserve(_N_ROWS, most)
    stepper = Stepper(model, slots)
    try:
        stepped = _stepped(stepper, rows)
    except FAILURES as error:
        return f"its modules do not take a running batch ({type(error).__name__}: {error})"
    windows = expected_windows(model.config.get_text_config())
    if windows is not None and stepper.windows != windows:
        return "its sliding windows do not reach the attention"
    gap = 0.0
    for row, logits in zip(rows, stepped, strict=True):
        whole = model(input_ids=torch.tensor([row], device=model.device), use_cache=False)
        difference = logprob_gap(logits, whole.logits[0, -len(logits) :])
        # NaN compares false, so that it counts as a difference.
        gap = gap if difference <= gap else difference
    if gap <= tolerance_of(model.dtype):
        return ""
    return f"stepped and plain log-probabilities differ by {gap:.2g} nats"


def _stepped(stepper: Stepper, rows: list[TokenIds]) -> list[Float[Tensor, "n d_vocab"]]:
    """Return the logits of the last tokens of each row, from steps of every kind."""
    done = [0] * len(rows)
    answers: list[list[Tensor]] = [[] for _ in rows]
    # The last three tokens of each row are written one by one; the last row is read in two pieces.
    plans = [[len(rows[0]) - 3, len(rows[1]) - 3, 2], [1, 1, len(rows[2]) - 5], [1, 1, 1]]
    plans += [[1, 1, 1], [0, 0, 1]]
    for plan in plans:
        parts, who = [], []
        for index, n in enumerate(plan):
            if n:
                tokens = rows[index][done[index] : done[index] + n]
                parts.append(Part(index, done[index], tokens, range(n - 1, n)))
                done[index] += n
                who.append(index)
        logits = stepper.run(parts).logits
        for index, row in zip(who, logits, strict=True):
            answers[index].append(row)
    return [torch.stack(answer[-3:]) for answer in answers]
