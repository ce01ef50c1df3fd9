"""Chooses the texts in which each pathway is looked at closely: all doses, and random directions.

Takes where things stand and nothing of what they do: which texts hold a pathway and how far a run
goes there, never how strong its gradient is, so that the choice makes no effect look unlike chance.
A run of a source serves all its targets in a text.

Source: greedy weighted set cover, Chvátal 1979, Math. Oper. Res. 4(3).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from glassbox.pathways.replay.text_pathways import TextPathways

_TARGET: Final = slice(0, 2)
_SOURCE: Final = slice(2, 4)
_NAME: Final = slice(0, 4)
_DOCUMENT: Final = 4
_COST: Final = 5


@dataclass(frozen=True, eq=False)
class CloseTexts:
    """Which pathways are looked at closely in which text."""

    by_document: Mapping[int, Int[np.ndarray, "n 4"]]
    """Layer and index of target and source, by document; absent where there is none."""

    def mark(self, wanted: TextPathways) -> TextPathways:
        """Return a text's pathways with those marked that are looked at closely.

        The sample below the cut always is: each of its pairs is there for one text.
        """
        chosen = self.by_document.get(wanted.context.document_id, np.zeros((0, 4), np.int64))
        names = {tuple(each) for each in chosen.tolist()}
        close = np.array([tuple(each) in names for each in _names(wanted).tolist()], bool)
        return replace(wanted, is_close=close | ~wanted.is_kept)


def choose_close_texts(
    texts: Iterable[TextPathways], n: int | None, *, seed: int = 0
) -> CloseTexts:
    """Return for each kept pathway some of the texts that hold it.

    The same whatever the order of the texts.

    Args:
        texts: What is to be replayed, all texts.
        n: How many of each pathway's texts; None takes all.
        seed: Decides between texts that are equally good.
    """
    table = np.concatenate([np.zeros((0, 6), np.int64), *(_rows(each) for each in texts)])
    # By source, then by text, then by target, the dearest first.
    order = np.lexsort([-table[:, _COST], *(table[:, at] for at in (1, 0, 4, 3, 2))])
    table = table[order]
    alike = (table[1:, : _DOCUMENT + 1] == table[:-1, : _DOCUMENT + 1]).all(axis=1)
    table = table[np.r_[True, ~alike][: len(table)]]
    starts = np.flatnonzero((table[1:, _SOURCE] != table[:-1, _SOURCE]).any(axis=1)) + 1
    parts = np.split(table, starts) if n is not None and len(table) else []
    taken = np.concatenate([table[:0], *(own[_cover(own, n or 0, seed)] for own in parts)])
    taken = table if n is None else taken
    documents = np.unique(taken[:, _DOCUMENT])
    return CloseTexts({int(at): taken[taken[:, _DOCUMENT] == at, _NAME] for at in documents})


def _names(wanted: TextPathways) -> Int[np.ndarray, "n 4"]:
    latents = [each.latent for each in wanted.context.targets]
    targets = np.array([(each.layer, each.index) for each in latents], np.int64).reshape(-1, 2)
    return np.column_stack([targets[wanted.target], wanted.source_layer, wanted.source_index])


def _rows(wanted: TextPathways) -> Int[np.ndarray, "n 6"]:
    """Return names, document and length of the run, of the kept ones."""
    positions = np.array([each.position for each in wanted.context.targets], np.int64)
    names = _names(wanted)
    n_positions = positions[wanted.target] - wanted.start + 1
    document = np.full(len(names), wanted.context.document_id, np.int64)
    cost = n_positions * (names[:, 0] - names[:, 2])
    rows: Int[np.ndarray, "n 6"] = np.column_stack([names, document, cost])[wanted.is_kept]
    return rows


def _cover(own: Int[np.ndarray, "n 6"], n: int, seed: int) -> Int[np.ndarray, " m"]:
    """Return rows of one source such that each of its targets has ``n`` texts, if it has as many.

    Greedy: the text that serves most open targets for the length of its run, again and again.
    """
    targets, target = np.unique(own[:, _TARGET], axis=0, return_inverse=True)
    documents, text = np.unique(own[:, _DOCUMENT], return_inverse=True)
    rng = np.random.default_rng((seed, *own[0, _SOURCE].tolist()))
    text = rng.permutation(len(documents))[text.reshape(-1)]
    target = target.reshape(-1)
    wanting = np.full(len(targets), n)
    left = np.ones(len(own), bool)
    taken = [np.zeros(0, np.int64)]
    while (rows := left & (wanting[target] > 0)).any():
        pick = _worth(text[rows], own[rows, _COST], len(documents)).argmax()
        here = np.flatnonzero(rows & (text == pick))
        taken.append(here)
        wanting[target[here]] -= 1
        left[text == pick] = False
    return np.concatenate(taken)


def _worth(
    text: Int[np.ndarray, " n"], cost: Int[np.ndarray, " n"], n_texts: int
) -> Float[np.ndarray, " texts"]:
    """Return how many pathways a unit of each text's run would serve."""
    dearest = np.ones(n_texts)
    np.maximum.at(dearest, text, cost.astype(np.float64))
    worth: Float[np.ndarray, " texts"] = np.bincount(text, minlength=n_texts) / dearest
    return worth
