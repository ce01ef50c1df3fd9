"""Small corpora: logged texts over a few words, and rows of a random dictionary."""

from dataclasses import dataclass

import numpy as np
import torch

from glassbox.pathways.corpus.building import build_corpus
from glassbox.pathways.saes.rows import LatentRows

TEXT = "the cat sat on a mat and then negative positive things happened in there"
WORDS = TEXT.split()


@dataclass(frozen=True)
class Logged:
    condition: str
    prompt: str | None
    response: str


class WordEncoder:
    """One token a word; 0 stands in front, as a tokenizer's BOS."""

    def __init__(self, words=WORDS):
        self.ids = {word: number + 1 for number, word in enumerate(words)}

    def encode(self, texts, *, special=True):
        return [
            ((0,) if special else ()) + tuple(self.ids[word] for word in text.split())
            for text in texts
        ]

    def encode_continuations(self, texts):
        return self.encode(texts, special=False)


def logged_texts(n=60, n_prompts=6, seed=0):
    rng = np.random.default_rng(seed)
    prompts = [" ".join(rng.choice(WORDS, rng.integers(4, 12))) for _ in range(n_prompts)]
    return [
        Logged(
            f"condition_{i % 3}",
            prompts[i % n_prompts],
            " " + " ".join(rng.choice(WORDS, rng.integers(1, 6))),
        )
        for i in range(n)
    ]


def word_corpus(entries=None, **options):
    options = {"context": 64, "special_ids": [0]} | options
    return build_corpus(entries or logged_texts(), WordEncoder(), **options)


def random_rows(layer, n=20, d_model=32, threshold=0.3, seed=0, k=None):
    draw = torch.Generator().manual_seed(seed + 100 * layer)
    return LatentRows(
        layer,
        torch.arange(n) * 3,
        torch.randn(n, d_model, generator=draw),
        torch.randn(n, generator=draw) * 0.1,
        torch.randn(n, d_model, generator=draw),
        torch.full((n,), threshold),
        k,
    )
