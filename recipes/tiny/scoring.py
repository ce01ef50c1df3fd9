"""What the embedded model says: label probabilities, answers, decisions; and how well that fits.

Knows nothing of training or of files.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from tokenizers import Tokenizer

from recipes.tiny.lean import LeanLlama
from recipes.tiny.tokenizer import BOS_ID, PAD_ID

BATCH = 64


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Token ids with <|bos|> before them."""
    return [BOS_ID, *tokenizer.encode(prompt, add_special_tokens=False).ids]


def single_token(tokenizer: Tokenizer, text: str) -> int:
    """The id of a text that is one token."""
    tokens = tokenizer.encode(text, add_special_tokens=False).ids
    assert len(tokens) == 1, f"{text!r} is not a single token"
    return int(tokens[0])


@torch.no_grad()
def next_token_logprobs(
    model: LeanLlama, tokenizer: Tokenizer, prompts: Sequence[str]
) -> Float[np.ndarray, "n d_vocab"]:
    """Log-probabilities in nats of the token that follows each prompt."""
    encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    out = np.zeros((len(encoded), model.shape.d_vocab), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        longest = len(encoded[chosen[-1]])
        ids = torch.full((len(chosen), longest), PAD_ID)
        for row, i in enumerate(chosen):
            ids[row, : len(encoded[i])] = torch.tensor(encoded[i])
        last = torch.tensor([len(encoded[i]) - 1 for i in chosen])
        states = model.states(ids)[torch.arange(len(chosen)), last]
        out[chosen] = torch.log_softmax(states @ model.embedding.weight.t(), -1).numpy()
    return out


def continuation_probs(
    model: LeanLlama, tokenizer: Tokenizer, prompts: Sequence[str], continuations: Sequence[str]
) -> Float[np.ndarray, "n n_continuations"]:
    """Probability of each single-token continuation, over the whole vocabulary."""
    ids = [single_token(tokenizer, text) for text in continuations]
    logprobs = next_token_logprobs(model, tokenizer, prompts)
    return np.asarray(np.exp(logprobs[:, ids]))


def expected_calibration_error(
    confidence: Float[np.ndarray, "n"], correct: Bool[np.ndarray, "n"], *, n_bins: int = 15
) -> float:
    """ECE over equal-width, right-closed bins.

    Source: Guo et al. 2017, equation 3.
    """
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def null_ece(confidence: Float[np.ndarray, "n"], *, n_draws: int = 200, seed: int = 0) -> float:
    """Mean ECE of a perfectly calibrated model with these confidences at this n."""
    rng = np.random.default_rng(seed)
    draws = rng.random((n_draws, len(confidence))) < confidence
    return float(np.mean([expected_calibration_error(confidence, draw) for draw in draws]))


def paired_interval(
    first: Bool[np.ndarray, "n"], second: Bool[np.ndarray, "n"]
) -> tuple[float, float, float]:
    """Mean of ``first - second`` with its 95 % interval by the normal approximation."""
    difference = first.astype(float) - second.astype(float)
    half = 1.96 * float(difference.std(ddof=1)) / len(difference) ** 0.5
    mean = float(difference.mean())
    return mean, mean - half, mean + half


def auroc(values: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]) -> float:
    """Probability that a positive has a larger value than a negative, ties counted half."""
    from scipy.stats import rankdata

    ranks = rankdata(values)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    top = float(ranks[positive].sum()) - n_positive * (n_positive + 1) / 2
    return top / (n_positive * n_negative)
