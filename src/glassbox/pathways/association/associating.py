"""Tests every latent against every token, for all texts and for each condition, at each offset.

Three views of one table of counts: an exact test that takes positions as independent (Fisher), a
log-odds ratio that does not favour rare tokens, and a test that turns firing and text against each
other inside each response. A pair is called out only if it stands both tests: its ``q_shift`` is
the adjusted larger one of the two p-values. Positive associations only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from glassbox.errors import InvalidValue
from glassbox.pathways.association.counting import PairCounts, count_pairs
from glassbox.pathways.association.rings import Firings, Rings, firings_of, rings_of
from glassbox.pathways.association.shifts import Pairs, shift_p
from glassbox.pathways.corpus.activations import Activations
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.latents import LatentId
from glassbox.pathways.sections import TokensSection
from glassbox.progress import Progress
from glassbox.stats.effects.token_association import association_p, log_odds, pmi, point_probability
from glassbox.stats.multiple_testing import benjamini_hochberg

ALL = "all"
"""Stands for every condition together."""

KEPT = 20
"""Most tokens kept for a latent in one family; the ones with the smallest p-values."""


@dataclass(frozen=True)
class Family:
    """The tests that were corrected together: one condition, one offset, all latents and tokens."""

    condition: str
    """``all`` or a condition's name."""
    offset: int
    """Position of the token relative to the activation."""
    n_positions: int
    """Positions that count."""
    n_tests: int
    """Pairs of a latent that fires and a token that is common enough, met or not."""
    n_met: int
    """Pairs that meet at least once."""
    n_fisher: int
    """Pairs at or below the false discovery rate by Fisher's test alone."""
    n_associated: int
    """Pairs called out: at or below it by the larger p-value of both tests."""


@dataclass(frozen=True, eq=False)
class AssociationRows:
    """Pairs worth telling, as columns of one length."""

    latent: Int[np.ndarray, " n"]
    """Column of the activations."""
    token_id: Int[np.ndarray, " n"]
    condition: Int[np.ndarray, " n"]
    """Index into the conditions, 0 is ``all``."""
    offset: Int[np.ndarray, " n"]
    n_both: Int[np.ndarray, " n"]
    n_latent: Int[np.ndarray, " n"]
    """Positions of the family where the latent fires."""
    n_token: Int[np.ndarray, " n"]
    """Positions of the family that hold the token at the offset."""
    n_positions: Int[np.ndarray, " n"]
    activation_mean: Float[np.ndarray, " n"]
    """Mean activation where both are."""
    log_odds: Float[np.ndarray, " n"]
    z: Float[np.ndarray, " n"]
    pmi: Float[np.ndarray, " n"]
    p: Float[np.ndarray, " n"]
    """Fisher's p-value."""
    q: Float[np.ndarray, " n"]
    """Adjusted over the family."""
    p_shift: Float[np.ndarray, " n"]
    """P-value under circular shifts within the texts."""
    q_shift: Float[np.ndarray, " n"]
    """The larger of both p-values, adjusted over the family."""
    significant: Bool[np.ndarray, " n"]
    """Whether ``q_shift`` is at or below the false discovery rate."""

    def __len__(self) -> int:
        return len(self.latent)


@dataclass(frozen=True, eq=False)
class Associations:
    """What fires which latents."""

    latents: tuple[LatentId, ...]
    """The activations' columns."""
    conditions: tuple[str, ...]
    """``all`` first, then the corpus' conditions."""
    families: tuple[Family, ...]
    """Conditions within offsets."""
    rows: AssociationRows
    """By offset, condition, latent, then p-value."""


def associate(
    activations: Activations,
    corpus: Corpus,
    settings: TokensSection,
    *,
    progress: Progress | None = None,
) -> Associations:
    """Return the tokens on which each latent fires beyond chance.

    Args:
        activations: Of the corpus.
        corpus: The texts.
        settings: Offsets, number of random turns, false discovery rate, prior, seed.
        progress: Called with (families done, families in all).

    Raises:
        InvalidValue: The activations are of another corpus.
    """
    if activations.corpus_digest != corpus.digest:
        raise InvalidValue(
            "The activations' corpus", activations.corpus_digest[:12], corpus.digest[:12]
        )
    conditions = (ALL, *corpus.conditions)
    total = len(conditions) * len(settings.offsets)
    families, parts = [], []
    for offset in settings.offsets:
        rings = rings_of(corpus, offset, min_count=settings.min_count)
        firings = firings_of(rings, activations, corpus)
        for number, inside in enumerate(_memberships(rings, corpus)):
            here = firings.at(inside[firings.where])
            counts = count_pairs(rings, here, inside, len(activations.latents))
            family, rows = _family(rings, here, counts, settings, number)
            families.append(_named(family, conditions[number], offset))
            parts.append(rows)
            if progress is not None:
                progress(len(families), total)
    return Associations(
        latents=activations.latents,
        conditions=conditions,
        families=tuple(families),
        rows=_joined(parts),
    )


def _memberships(rings: Rings, corpus: Corpus) -> Iterator[Bool[np.ndarray, " n"]]:
    """Yield which positions belong to all texts, and to those of each condition."""
    yield np.ones(len(rings), dtype=bool)
    for condition in corpus.conditions:
        yield corpus.in_condition(condition)[rings.flat]


def _family(
    rings: Rings, firings: Firings, counts: PairCounts, settings: TokensSection, number: int
) -> tuple[Family, AssociationRows]:
    """Return the tests of one family, and the rows worth telling."""
    is_common = counts.n_token >= settings.min_count
    n_tests = int((counts.n_fires > 0).sum()) * int(is_common.sum())
    (where,) = np.nonzero(_more_than_expected(counts) & is_common[counts.label])
    # Fisher's p-value is at least the probability of the table itself. Where this is more than the
    # last of all pairs may have, the pair is not kept, nor does it change what others are given.
    most = settings.q * len(where) / max(1, n_tests)
    where = where[point_probability(*_tables(counts, where)) <= most]
    latent, label = counts.latent[where], counts.label[where]
    tables = _tables(counts, where)
    p = association_p(*tables)
    q = benjamini_hochberg(p, n_tests=n_tests)
    kept = _strongest(latent, p, q <= settings.q)
    table = [each[kept] for each in tables]
    pairs = Pairs(latent[kept], label[kept], table[0])
    p_shift = shift_p(
        rings, firings, pairs, n_permutations=settings.n_permutations, seed=settings.seed
    )
    # Whatever was not kept counts as a test without any evidence.
    q_shift = benjamini_hochberg(np.maximum(p[kept], p_shift), n_tests=n_tests)
    ratio, z = log_odds(*table, prior=settings.prior)
    significant = q_shift <= settings.q
    rows = AssociationRows(
        latent=pairs.latent,
        token_id=rings.vocabulary[pairs.label],
        condition=np.full(len(kept), number),
        offset=np.full(len(kept), rings.offset),
        n_both=pairs.n_both,
        n_latent=table[1],
        n_token=table[2],
        n_positions=table[3],
        activation_mean=counts.value_sum[where][kept] / pairs.n_both,
        log_odds=ratio,
        z=z,
        pmi=pmi(*table),
        p=p[kept],
        q=q[kept],
        p_shift=p_shift,
        q_shift=q_shift,
        significant=significant,
    )
    family = Family(
        condition="",
        offset=rings.offset,
        n_positions=counts.n_positions,
        n_tests=n_tests,
        n_met=int(is_common[counts.label].sum()),
        n_fisher=int((q <= settings.q).sum()),
        n_associated=int(significant.sum()),
    )
    return family, rows


def _more_than_expected(counts: PairCounts) -> Bool[np.ndarray, " n_pairs"]:
    """Return which pairs meet more often than chance would have it; no other can be called out."""
    expected = counts.n_fires[counts.latent] * counts.n_token[counts.label]
    more: Bool[np.ndarray, " n_pairs"] = counts.n_both * counts.n_positions > expected
    return more


def _tables(counts: PairCounts, where: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " n"]]:
    """Return the tables of some pairs: both, latent, token, all positions."""
    return [
        counts.n_both[where],
        counts.n_fires[counts.latent[where]],
        counts.n_token[counts.label[where]],
        np.full(len(where), counts.n_positions),
    ]


def _strongest(
    latent: Int[np.ndarray, " n"], p: Float[np.ndarray, " n"], passes: Bool[np.ndarray, " n"]
) -> Int[np.ndarray, " k"]:
    """Return each latent's pairs that pass, at most ``KEPT``, smallest p-values first."""
    (where,) = np.nonzero(passes)
    order = where[np.lexsort((where, p[where], latent[where]))]
    starts = np.searchsorted(latent[order], latent[order], side="left")
    return order[np.arange(len(order)) - starts < KEPT]


def _named(family: Family, condition: str, offset: int) -> Family:
    return Family(**(vars(family) | {"condition": condition, "offset": offset}))


def _joined(parts: list[AssociationRows]) -> AssociationRows:
    return AssociationRows(
        **{
            each.name: np.concatenate([getattr(part, each.name) for part in parts])
            for each in fields(AssociationRows)
        }
    )
