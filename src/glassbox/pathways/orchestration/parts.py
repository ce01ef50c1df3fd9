"""What the model's steps have in common: the selected latents, their rows, and TopK's dictionaries.

Knows nothing of what is done with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.workplace import Workplace
from glassbox.pathways.saes.row_bank import RowBank
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.saes.sae import Sae
from glassbox.pathways.study.selection_file import read_selection


@dataclass(frozen=True, eq=False)
class StudyLatents:
    """The selected latents of a study."""

    ids: tuple[LatentId, ...]
    """Ascending."""
    rows: Mapping[int, LatentRows]
    """Their rows by layer, memory-mapped."""
    full: Mapping[int, Sae]
    """Whole dictionaries of the layers whose dictionary is TopK: a few rows cannot know which of
    them are among the k largest."""


def selected_ids(place: Workplace) -> tuple[LatentId, ...]:
    """Return the selected latents, ascending.

    Raises:
        CorruptArtifact: ``causal_features.json`` is absent or damaged.
    """
    return tuple(
        sorted(each.latent for each in read_selection(place.folder.causal_features).latents)
    )


def row_bank(place: Workplace) -> RowBank:
    """Return the selected latents' rows, written to the study's folder if they are not there.

    Raises:
        UnknownName: No SAE is there for a latent's layer.
        InvalidValue: A latent's index is not in its dictionary.
        NoDiskSpace: The device is full.
    """
    return RowBank.build(place.folder.row_bank, place.dictionaries, selected_ids(place))


def study_latents(
    place: Workplace, device: torch.device | str = "cpu", more: Sequence[LatentId] = ()
) -> StudyLatents:
    """Return the selected latents with their rows, read from the row bank.

    Args:
        place: The study.
        device: Where whole dictionaries go.
        more: Further latents whose rows are wanted; they do not become selected.

    Raises:
        UnknownName: No SAE is there for a latent's layer.
        InvalidValue: A latent's index is not in its dictionary.
    """
    ids = selected_ids(place)
    dictionaries = place.dictionaries
    rows = dict(row_bank(place).all_rows())
    if set(more) - set(ids):
        rows = dictionaries.rows({*ids, *more})
    full = {
        layer: dictionaries.load(layer, device=device)
        for layer, each in rows.items()
        if each.k is not None
    }
    return StudyLatents(ids, rows, full)
