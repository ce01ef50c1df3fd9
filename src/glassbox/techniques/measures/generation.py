"""Text that a model writes after a prompt, for techniques.

All rows of a batch share one prompt, so nothing is padded and no position has to be corrected.
The model's own generation settings stay as they are: what differs is set on a copy. Knows hooks
no more than the model does.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch

from glassbox.errors import InvalidValue
from glassbox.techniques.measures.encoding import Batch


def write_on(
    model: Any,
    tokenizer: Any,
    prompt: Batch,
    *,
    n_rows: int = 1,
    max_new_tokens: int = 50,
    temperature: float = 0.0,
    seed: int = 0,
) -> tuple[tuple[int, ...], ...]:
    """Return the token ids that follow a prompt, one tuple a row, up to an end token.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        prompt: One text.
        n_rows: How many continuations.
        max_new_tokens: Most tokens of each.
        temperature: 0 takes the most probable token; above, all tokens are drawn from.
        seed: Of the draws; the caller's random state is left as it was.

    Raises:
        InvalidValue: Less than one token or row, or a temperature below 0.
    """
    if max_new_tokens < 1:
        raise InvalidValue("max_new_tokens", max_new_tokens, "1 or more")
    if n_rows < 1:
        raise InvalidValue("n_samples", n_rows, "1 or more")
    if not temperature >= 0:
        raise InvalidValue("temperature", temperature, "0 or more")
    settings = copy.deepcopy(model.generation_config)
    settings.do_sample = temperature > 0
    draws = (temperature, 0, 1.0) if temperature > 0 else (None, None, None)
    settings.temperature, settings.top_k, settings.top_p = draws
    settings.max_new_tokens, settings.num_beams, settings.max_length = max_new_tokens, 1, None
    ends = settings.eos_token_id if settings.eos_token_id is not None else tokenizer.eos_token_id
    stops = set(ends) if isinstance(ends, list | tuple) else {ends}
    if settings.pad_token_id is None:
        settings.pad_token_id = next(iter(stops - {None}), 0)
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        written = model.generate(
            input_ids=prompt.ids.expand(n_rows, -1),
            attention_mask=prompt.mask.expand(n_rows, -1),
            generation_config=settings,
        )
    rows = written[:, prompt.ids.shape[1] :].tolist()
    return tuple(_until_end(row, stops) for row in rows)


def continuation(tokenizer: Any, before: Sequence[int], ids: Sequence[int]) -> str:
    """Return the text that some ids add after others, special tokens left out."""
    context = list(before[-4:])
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    whole = str(tokenizer.decode(context + list(ids), **options))
    return whole[len(str(tokenizer.decode(context, **options))) :]


def _until_end(row: Sequence[int], stops: set[Any]) -> tuple[int, ...]:
    for place, token in enumerate(row):
        if token in stops:
            return tuple(row[:place])
    return tuple(row)
