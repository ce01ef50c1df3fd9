"""The slow, obvious way: an ordinary padded batch of the library, every text run whole.

It is the oracle of the packed path and the way of models that cannot be packed. It shares nothing
between rows and knows no prefix; each row is a prompt with the beginning of a continuation. Rows
that a model would turn otherwise beside longer ones go through it apart from these.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from glassbox.engine.layout.trie import TokenTrie
from glassbox.types import TokenIds


def plain_read_logits(
    model: PreTrainedModel, prompts: Sequence[TokenIds], trie: TokenTrie
) -> Float[Tensor, "batch n_reads d_vocab"]:
    """Return the logits after each prompt and after each node of the tree, in the model's dtype."""
    beginnings = [(), *(_beginning(trie, node) for node in range(1, trie.n_nodes + 1))]
    rows = [(*prompt, *beginning) for prompt in prompts for beginning in beginnings]
    switch = rotation_switch(model.config.get_text_config())
    short = [at for at, row in enumerate(rows) if switch is None or len(row) <= switch]
    long = sorted(set(range(len(rows))) - set(short))
    parts = [_last_logits(model, [rows[at] for at in some]) for some in (short, long) if some]
    logits = (
        torch.cat(parts)[torch.tensor([*short, *long]).argsort()] if short and long else parts[0]
    )
    return logits.view(len(prompts), len(beginnings), -1)


def rotation_switch(config: PretrainedConfig) -> int | None:
    """Return the most tokens of a call up to which a model's rotary embeddings stay the same.

    None where they do not change with the longest text of a call.

    Source: Ding et al. 2024, "LongRoPE"; the library takes one of two sets for a whole call.
    """
    return _switch(getattr(config, "rope_parameters", None))


def _switch(parameters: Any) -> int | None:
    if not isinstance(parameters, dict):
        return None
    if parameters.get("rope_type") == "longrope":
        return int(parameters["original_max_position_embeddings"])
    nested = [_switch(part) for part in parameters.values()]
    return min((each for each in nested if each is not None), default=None)


def _last_logits(
    model: PreTrainedModel, rows: Sequence[TokenIds]
) -> Float[Tensor, "n_rows d_vocab"]:
    """Return the logits after the last token of each row."""
    longest = max(len(row) for row in rows)
    shortest = min(len(row) for row in rows)
    # Right padding: what stands before is not changed by it, and positions count from zero.
    tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    seen = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    kept = torch.arange(shortest - 1, longest, device=model.device)
    output = model(
        input_ids=tokens.to(model.device),
        attention_mask=seen.to(model.device),
        use_cache=False,
        logits_to_keep=kept,
    )
    ends = torch.tensor([len(row) - shortest for row in rows], device=model.device)
    logits: Tensor = output.logits
    if logits.shape[1] == longest:
        # A few architectures answer at every position whatever is asked for.
        logits = logits[:, kept]
    return logits[torch.arange(len(rows), device=model.device), ends]


def _beginning(trie: TokenTrie, node: int) -> TokenIds:
    tokens: list[int] = []
    while node:
        tokens.append(trie.node_tokens[node - 1])
        node = trie.node_parents[node - 1]
    return tuple(reversed(tokens))
