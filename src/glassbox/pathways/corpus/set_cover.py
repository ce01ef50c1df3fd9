"""Chooses the texts on which each target is looked at, few in all: one text serves many targets.

A target needs a number of texts in which it is most active, and one text from each quantile band
of all its activations, because what drives a latent at its peak need not be what drives it
elsewhere. Any of several texts would do for each need; the greedy cover takes the text that meets
most open needs, again and again.

Source: greedy set cover, within ln(n) + 1 of the fewest texts (Chvátal 1979, Math. Oper. Res.
4(3)); its gains only fall, so that outdated ones are looked at anew when they come up (Minoux
1978, lazy evaluation).
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from glassbox.errors import InvalidValue
from glassbox.pathways.corpus.activations import Activations
from glassbox.pathways.corpus.contexts import Context, make_context
from glassbox.pathways.corpus.documents import Corpus
from glassbox.pathways.latents import LatentId

Role = Literal["top", "spread"]
"""Why a text was chosen for a target: it is among its strongest, or it stands for a band."""

TOP_SHARE = 0.9
"""A text counts among a target's strongest if its peak is at least this share of the peak of the
last one that would be taken without any sharing."""

CANDIDATES = 64
"""Most texts considered for one need; those in which most other targets are active."""

_TOP_BAND = -1


@dataclass(frozen=True)
class ChosenPlace:
    """Why a target is looked at in a text."""

    latent: LatentId
    """The target."""
    document_id: int
    """The text."""
    position: int
    """Where in it."""
    value: float
    """The target's activation there."""
    role: Role
    """Among its strongest, or for a band."""
    band: int | None
    """Which quantile band of its activations, lowest 0; none for ``top``."""


@dataclass(frozen=True)
class ContextChoice:
    """The texts, and what each is for."""

    contexts: tuple[Context, ...]
    """In the order of their documents; each with all targets it was chosen for."""
    places: tuple[ChosenPlace, ...]
    """One for each target of each context, by latent and document."""
    wanted: int
    """Texts wanted for each target."""

    @property
    def missing(self) -> dict[LatentId, int]:
        """How many texts each target lacks, for those that are not active in enough of them."""
        found: dict[LatentId, int] = dict.fromkeys(self._asked, 0)
        for place in self.places:
            found[place.latent] += 1
        return {each: self.wanted - n for each, n in found.items() if n < self.wanted}

    _asked: tuple[LatentId, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the choice in JSON values, without the texts themselves."""
        return {
            "n_contexts": len(self.contexts),
            "n_places": len(self.places),
            "wanted_per_target": self.wanted,
            "missing": {latent.name: n for latent, n in self.missing.items()},
            "places": [
                {
                    "latent": each.latent.name,
                    "document_id": each.document_id,
                    "position": each.position,
                    "value": each.value,
                    "role": each.role,
                    "band": each.band,
                }
                for each in self.places
            ],
        }


def choose_contexts(
    activations: Activations,
    corpus: Corpus,
    targets: Sequence[LatentId] | None = None,
    *,
    top: int = 4,
    spread: int = 4,
    seed: int = 0,
) -> ContextChoice:
    """Return texts for each target, each text for as many targets as it can serve.

    A target gets distinct texts, at most ``top + spread``; fewer where it is active in fewer.

    Args:
        activations: Of the corpus.
        corpus: The texts.
        targets: Latents among those that were read; None takes all.
        top: Texts in which a target is among its strongest.
        spread: Bands of equal numbers of activations, one further text from each.
        seed: Decides between texts that are equally good.

    Raises:
        InvalidValue: Nothing is wanted, or the activations are of another corpus.
        UnknownName: A target was not read.
    """
    if top < 0 or spread < 0 or top + spread < 1:
        raise InvalidValue("top and spread", (top, spread), "0 or more, not both 0")
    if activations.corpus_digest != corpus.digest:
        raise InvalidValue(
            "The activations' corpus", activations.corpus_digest[:12], corpus.digest[:12]
        )
    asked = tuple(dict.fromkeys(activations.latents if targets is None else targets))
    columns = [activations.column(each) for each in asked]
    order = np.random.default_rng(seed).permutation(len(corpus))
    popularity = _popularity(activations, columns, len(corpus))
    needs = [
        need
        for number, column in enumerate(columns)
        for need in _needs(activations, column, number, (top, spread), (popularity, order))
    ]
    taken = _cover(needs, len(asked), (top, spread), corpus.lengths, order)
    places = tuple(
        ChosenPlace(
            latent=asked[need.target],
            document_id=need.document,
            position=need.position,
            value=need.value,
            role="top" if need.band == _TOP_BAND else "spread",
            band=None if need.band == _TOP_BAND else need.band,
        )
        for need in sorted(taken, key=lambda need: (need.target, need.document))
    )
    return ContextChoice(_contexts(places, corpus), places, top + spread, asked)


@dataclass(frozen=True)
class _Need:
    """A text that would do for one need of one target."""

    target: int
    band: int
    document: int
    position: int
    value: float


def _popularity(
    activations: Activations, columns: Sequence[int], n_documents: int
) -> Int[np.ndarray, " n_documents"]:
    """Return in how many targets' favour each document could be."""
    wanted = np.zeros(len(activations.latents), dtype=bool)
    wanted[list(columns)] = True
    keep = wanted[activations.latent]
    n_latents = len(activations.latents)
    pairs = activations.document[keep].astype(np.int64) * n_latents + activations.latent[keep]
    return np.bincount(np.unique(pairs) // n_latents, minlength=n_documents)


def _needs(
    activations: Activations,
    column: int,
    target: int,
    wanted: tuple[int, int],
    preference: tuple[Int[np.ndarray, " n_documents"], Int[np.ndarray, " n_documents"]],
) -> Iterator[_Need]:
    """Yield the texts that would do for each need of one target."""
    top, spread = wanted
    entries = activations.entries_of(column)
    if not len(entries):
        return
    documents = activations.document[entries]
    positions = activations.position[entries]
    values = activations.value[entries]
    for band, chosen in _bands(documents, values, top, spread):
        popularity, order = preference
        here = documents[chosen]
        best = np.lexsort((order[here], -popularity[here]))[:CANDIDATES]
        for each in chosen[best]:
            yield _Need(
                target, band, int(documents[each]), int(positions[each]), float(values[each])
            )


def _bands(
    documents: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], top: int, spread: int
) -> Iterator[tuple[int, Int[np.ndarray, " m"]]]:
    """Yield each need's band and one entry of each document that would do for it."""
    if top:
        peaks = _first_of_each(documents, np.lexsort((-values, documents)))
        weakest = np.sort(values[peaks])[::-1][:top][-1]
        yield _TOP_BAND, peaks[values[peaks] >= TOP_SHARE * weakest]
    rank = np.empty(len(values), dtype=np.float64)
    rank[np.argsort(values, kind="stable")] = (np.arange(len(values)) + 0.5) / len(values)
    for band in range(spread):
        middle = (band + 0.5) / spread
        inside = np.flatnonzero(np.floor(rank * spread) == band)
        by_nearness = np.lexsort((np.abs(rank[inside] - middle), documents[inside]))
        yield band, inside[_first_of_each(documents[inside], by_nearness)]


def _first_of_each(
    documents: Int[np.ndarray, " n"], order: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " m"]:
    """Return the first entry of each document in an order that keeps documents together."""
    ordered = documents[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return order[is_first]


def _cover(
    needs: Sequence[_Need],
    n_targets: int,
    wanted: tuple[int, int],
    lengths: Int[np.ndarray, " n_documents"],
    order: Int[np.ndarray, " n_documents"],
) -> list[_Need]:
    """Return the needs that are met, and by which texts: greedily, most open needs first."""
    top, spread = wanted
    room = [{_TOP_BAND: top} | dict.fromkeys(range(spread), 1) for _ in range(n_targets)]
    offers: dict[int, dict[int, list[_Need]]] = {}
    for need in needs:
        offers.setdefault(need.document, {}).setdefault(need.target, []).append(need)

    def met(document: int) -> list[_Need]:
        """Return what a text would meet now: at most one need of each target, the top first."""
        found = []
        for of_target in offers[document].values():
            open_ones = [each for each in of_target if room[each.target][each.band]]
            if open_ones:
                found.append(min(open_ones, key=lambda each: each.band))
        return found

    def ranked(document: int, gain: int) -> tuple[int, int, int, int]:
        return -gain, int(lengths[document]), int(order[document]), document

    heap = [ranked(document, len(met(document))) for document in offers]
    heapq.heapify(heap)
    taken: list[_Need] = []
    while heap:
        gain, *_, document = heapq.heappop(heap)
        now = met(document)
        if not now:
            continue
        if len(now) < -gain:
            heapq.heappush(heap, ranked(document, len(now)))
            continue
        for need in now:
            room[need.target][need.band] -= 1
        taken.extend(now)
    return taken


def _contexts(places: Sequence[ChosenPlace], corpus: Corpus) -> tuple[Context, ...]:
    by_document: dict[int, list[tuple[LatentId, int]]] = {}
    for place in places:
        by_document.setdefault(place.document_id, []).append((place.latent, place.position))
    return tuple(
        make_context(
            document,
            corpus.token_ids(document),
            targets,
            excluded=corpus.excluded(document),
            n_prompt=int(corpus.n_prompt[document]),
        )
        for document, targets in sorted(by_document.items())
    )
