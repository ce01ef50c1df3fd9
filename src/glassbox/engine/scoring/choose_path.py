"""Which scoring path a loaded model gets: decided by trying, not by a list of names.

The packed path is used where the model's configuration holds nothing that packing would bend and
a short random batch gives the plain path's answer. Knows models; knows nothing of requests.
"""

import random
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from glassbox.engine.layout.attention import PackedCall, PackingUnsupported
from glassbox.engine.layout.packing import common_prefix_length, pack_rows
from glassbox.engine.layout.trie import TokenTrie, build_trie
from glassbox.engine.model.devices import is_out_of_memory
from glassbox.engine.model.distributions import largest_gap, logprob_gap
from glassbox.engine.protocol import ScoringPath
from glassbox.engine.scoring.forward import (
    packed_logits,
    path_logprobs,
    prefix_states,
    read_logits,
)
from glassbox.errors import NonFiniteOutput, UnsupportedModel, first_line
from glassbox.types import TokenIds

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.25, torch.float16: 0.05}
"""Largest difference of log-probabilities that counts as equal, nats.

Float32 differs by rounding in another order. bfloat16 keeps 8 bits of each logit, so random
tokens in trained models differ by up to a unit in the last place of logits near 30 (0.125); a
wrong mask or position shows as whole nats.
"""

_ROTATIONS_OF_THE_CALL = {"dynamic", "longrope"}
"""Rotary embeddings that change with the longest text of a call: packing would mix lengths."""

FAILURES = (
    PackingUnsupported,
    RuntimeError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
)
"""What modules raise that do not take what they are given."""


def tolerance_of(dtype: torch.dtype) -> float:
    """Return the largest difference of log-probabilities that counts as equal, nats."""
    return TOLERANCE.get(dtype, TOLERANCE[torch.bfloat16])


def choose_path(model: PreTrainedModel, context: int) -> tuple[ScoringPath, str]:
    """Return the scoring path for a model, and why it is not the packed one ("" if it is).

    Raises:
        NonFiniteOutput: The model answers NaN or infinity on ordinary tokens.
        UnsupportedModel: It looks at tokens that come later, or cannot be run at all.
    """
    prompts, trie = _trial(int(model.config.get_text_config().vocab_size), context)
    with torch.inference_mode():
        expected = _plain(model, prompts, trie)
        # A token of the padding cannot come, which is no damage.
        if not bool((expected < torch.inf).all()):
            raise NonFiniteOutput(
                "The model answers NaN or infinity on ordinary tokens. Its weights are damaged, or "
                "its number format overflows: try dtype='float32'."
            )
        _require_causal(model, prompts[0])
        reason = _obstacle(model.config.get_text_config()) or _packed_differs(
            model, prompts, trie, expected
        )
    return ("plain", reason) if reason else ("packed", "")


def _plain(model: PreTrainedModel, prompts: list[TokenIds], trie: TokenTrie) -> torch.Tensor:
    try:
        return path_logprobs(read_logits(model, prompts, trie, path="plain"), trie)
    except FAILURES as error:
        if is_out_of_memory(error):
            raise
        raise UnsupportedModel(
            f"{type(model).__name__} cannot be run on ordinary tokens ({type(error).__name__}: "
            f"{first_line(error)}). See whether its config.json is whole, and whether the "
            "installed transformers can run it."
        ) from error


def _require_causal(model: PreTrainedModel, tokens: TokenIds) -> None:
    """Change the last token, which must change nothing before it."""
    d_vocab = int(model.config.get_text_config().vocab_size)
    both = ((*tokens[:-1], last % d_vocab) for last in (tokens[-1], tokens[-1] + 1))
    first, second = (
        model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0, :-1]
        for ids in both
    )
    gap = logprob_gap(first, second)
    if not gap <= tolerance_of(model.dtype):
        raise UnsupportedModel(
            f"{type(model).__name__} is no causal language model: it looks at tokens that come "
            f"later (the last of {len(tokens)} moves log-probabilities before it by {gap:.2g} "
            "nats), as encoders like BERT do. Choose a model that was made to write."
        )


def _obstacle(config: PretrainedConfig) -> str:
    """Return what in a configuration rules packing out, before anything is run."""
    kinds = set(getattr(config, "layer_types", None) or ())
    odd = kinds - {"full_attention", "sliding_attention"}
    if odd:
        return f"it has layers of kind {', '.join(sorted(odd))}"
    if getattr(config, "attention_chunk_size", None):
        return "its attention is chunked"
    if not getattr(config, "is_causal", True):
        return "its attention is not causal"
    rotations = _rotations(getattr(config, "rope_parameters", None)) & _ROTATIONS_OF_THE_CALL
    return f"its rotary embeddings are of kind {rotations.pop()}" if rotations else ""


def _rotations(parameters: Any) -> set[str]:
    if not isinstance(parameters, dict):
        return set()
    nested = [_rotations(part) for part in parameters.values()]
    return set().union(*nested, {str(parameters.get("rope_type", ""))})


def _packed_differs(
    model: PreTrainedModel, prompts: list[TokenIds], trie: TokenTrie, expected: torch.Tensor
) -> str:
    n_prefix = common_prefix_length(prompts)
    try:
        states = prefix_states(model, prompts[0][:n_prefix])
        pack = pack_rows(prompts, trie, n_prefix=n_prefix)
        call = PackedCall(pack, prefix=dict(states))
        logits = packed_logits(model, call)
    except FAILURES as error:
        return f"its modules do not take a packed batch ({type(error).__name__}: {error})"
    windows = expected_windows(model.config.get_text_config())
    if windows is not None and call.windows != windows:
        return "its sliding windows do not reach the attention"
    order = torch.from_numpy(pack.order).to(expected.device)
    gap = largest_gap(path_logprobs(logits, trie), expected[order])
    # NaN compares false, so that it counts as a difference.
    if gap <= tolerance_of(model.dtype):
        return ""
    return f"packed and plain log-probabilities differ by {gap:.2g} nats"


def expected_windows(config: PretrainedConfig) -> dict[int, int | None] | None:
    """Return the sliding window of each layer as a configuration has it."""
    window = getattr(config, "sliding_window", None)
    if window and not getattr(config, "use_sliding_window", True):
        window = None
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return {
            layer: window if kind == "sliding_attention" else None
            for layer, kind in enumerate(kinds)
        }
    return dict.fromkeys(range(int(config.num_hidden_layers)), window)


def _trial(d_vocab: int, context: int) -> tuple[list[TokenIds], TokenTrie]:
    """Return prompts and a tree that between them use every feature of packing."""
    draw = random.Random(0)
    most = max(2, min(12, context // 4))

    def tokens(n: int) -> TokenIds:
        return tuple(draw.randrange(d_vocab) for _ in range(n))

    prefix = tokens(most)
    prompts = [prefix + tokens(draw.randint(1, most)) for _ in range(5)]
    a, b, c = draw.sample(range(d_vocab), 3)
    return prompts, build_trie([(a,), (b, a), (b, c, a), (b, c)])
