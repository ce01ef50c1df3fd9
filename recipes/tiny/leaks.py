"""Near-duplicates among texts: exact search over all pairs by word 3-gram shingles.

Knows nothing of grammar or labels.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse

NEAR_DUPLICATE_JACCARD = 0.8
_WORD = re.compile(r"[a-z0-9'-]+")


def words(text: str) -> tuple[str, ...]:
    """The lower-case words of the text, punctuation dropped."""
    return tuple(_WORD.findall(text.lower()))


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """All runs of three words; the whole text where it has fewer."""
    tokens = words(text)
    if len(tokens) < 3:
        return frozenset((tokens,))
    return frozenset(tokens[i : i + 3] for i in range(len(tokens) - 2))


def near_duplicate_pairs(
    texts: Sequence[str], *, threshold: float = NEAR_DUPLICATE_JACCARD
) -> list[tuple[int, int, float]]:
    """Every pair (i < j) whose shingle sets have Jaccard similarity of at least ``threshold``.

    Exact: no hashing, all pairs compared through one sparse product.

    Args:
        texts: The texts.
        threshold: Jaccard similarity in (0, 1].
    """
    vocabulary: dict[tuple[str, ...], int] = {}
    rows: list[int] = []
    columns: list[int] = []
    sizes = np.zeros(len(texts), dtype=np.int64)
    for row, text in enumerate(texts):
        found = shingles(text)
        sizes[row] = len(found)
        for shingle in found:
            rows.append(row)
            columns.append(vocabulary.setdefault(shingle, len(vocabulary)))
    matrix = sparse.csr_matrix(
        (np.ones(len(rows), dtype=np.int32), (rows, columns)),
        shape=(len(texts), len(vocabulary)),
    )
    pairs: list[tuple[int, int, float]] = []
    for start in range(0, len(texts), 1000):
        overlap = sparse.coo_matrix(matrix[start : start + 1000] @ matrix.T)
        left, right = overlap.row + start, overlap.col
        jaccard = overlap.data / (sizes[left] + sizes[right] - overlap.data)
        keep = (left < right) & (jaccard >= threshold)
        pairs += [
            (int(i), int(j), float(v))
            for i, j, v in zip(left[keep], right[keep], jaccard[keep], strict=True)
        ]
    return sorted(pairs)


class NearDuplicateIndex:
    """Answers whether a text is one of the given texts or a near-duplicate of one."""

    def __init__(self, texts: Iterable[str], *, threshold: float = NEAR_DUPLICATE_JACCARD) -> None:
        self._threshold = threshold
        self._sizes: list[int] = []
        self._where: dict[tuple[str, ...], list[int]] = {}
        for number, text in enumerate(texts):
            found = shingles(text)
            self._sizes.append(len(found))
            for shingle in found:
                self._where.setdefault(shingle, []).append(number)

    def __contains__(self, text: str) -> bool:
        found = shingles(text)
        return any(
            overlap / (len(found) + self._sizes[number] - overlap) >= self._threshold
            for number, overlap in self._overlaps(found).items()
        )

    def wholly_inside(self, text: str) -> set[int]:
        """Numbers of the given texts whose shingles all occur in ``text``, however long it is."""
        overlaps = self._overlaps(shingles(text))
        return {number for number, overlap in overlaps.items() if overlap == self._sizes[number]}

    def _overlaps(self, found: frozenset[tuple[str, ...]]) -> Counter[int]:
        counts: Counter[int] = Counter()
        for shingle in found:
            counts.update(self._where.get(shingle, ()))
        return counts
