"""The dataset: 10,000 texts in eight categories with a known probability of "positive".

Category follows from the probability (strong, medium, weak) or the topic (neutral); the label is
drawn with the probability, so a perfectly calibrated confidence is ``max(p, 1 - p)``. Knows
nothing of the model.
"""

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

from recipes.tiny.grammar import DATASET_STYLE, Text, draw_text
from recipes.tiny.leaks import NearDuplicateIndex, near_duplicate_pairs
from recipes.tiny.lexicon import Lexicon, load_lexicon
from recipes.tiny.neutral import draw_neutral

DATASET_SEED = 20_240_601
ROWS_PER_CATEGORY = 1250
CONFIDENCE_RANGES = {"strong": (0.965, 1.0), "medium": (0.90, 0.965), "weak": (0.62, 0.90)}
"""Range of max(p, 1 - p) by strength; texts nearer to 0.5 than the weakest range are not used."""
CATEGORIES = (
    "strong_positive",
    "strong_negative",
    "medium_positive",
    "medium_negative",
    "weak_positive",
    "weak_negative",
    "neutral_positive",
    "neutral_negative",
)


@dataclass(frozen=True)
class Row:
    """One line of the dataset."""

    text: str
    category: str
    p_positive: float
    label: str


def category_of(p_positive: float) -> str | None:
    """The category of a text with opinions, or None near one half."""
    side = "positive" if p_positive >= 0.5 else "negative"
    confidence = max(p_positive, 1 - p_positive)
    for strength, (low, high) in CONFIDENCE_RANGES.items():
        if low <= confidence < high:
            return f"{strength}_{side}"
    return None


def _draw(rng: random.Random, lexicon: Lexicon, category: str) -> Text:
    if category == "neutral_positive":
        return draw_neutral(rng, lexicon, lexicon.sport, +1)
    if category == "neutral_negative":
        return draw_neutral(rng, lexicon, lexicon.work, -1)
    while True:
        text = draw_text(rng, lexicon, DATASET_STYLE)
        if category_of(text.p_positive) == category:
            return text


def draw_category(category: str, n_rows: int, *, seed: int = DATASET_SEED) -> list[Row]:
    """``n_rows`` rows of one category, no two with the same marks or nearly the same words.

    Deterministic in (category, seed); the first rows do not depend on ``n_rows``.
    """
    lexicon = load_lexicon()
    rng = random.Random(f"{seed}/{category}")
    seen: set[tuple[str, ...]] = set()
    rows: list[Row] = []
    while len(rows) < n_rows:
        batch: list[Row] = []
        while len(batch) < n_rows - len(rows):
            text = _draw(rng, lexicon, category)
            p_positive = round(text.p_positive, 4)
            label = "positive" if rng.random() < p_positive else "negative"
            if text.marks not in seen:
                seen.add(text.marks)
                batch.append(Row(text.text, category, p_positive, label))
        rows = without_near_duplicates(rows + batch)
    return rows


def without_near_duplicates(rows: list[Row]) -> list[Row]:
    """The rows without those that come later than a near-duplicate of theirs."""
    later = {j for _, j, _ in near_duplicate_pairs([row.text for row in rows])}
    return [row for number, row in enumerate(rows) if number not in later]


def build_dataset() -> dict[str, list[Row]]:
    """All categories, near-duplicates across categories removed too."""
    surplus = {category: draw_category(category, ROWS_PER_CATEGORY + 60) for category in CATEGORIES}
    kept = without_near_duplicates([row for rows in surplus.values() for row in rows])
    dataset = {
        category: [row for row in kept if row.category == category][:ROWS_PER_CATEGORY]
        for category in CATEGORIES
    }
    short = [category for category, rows in dataset.items() if len(rows) < ROWS_PER_CATEGORY]
    assert not short, f"too many near-duplicates in {short}; raise the surplus"
    return dataset


def draw_development(n_rows: int, *, seed: int, avoid: NearDuplicateIndex | None) -> list[Row]:
    """Fresh rows, the categories in equal parts, none near the texts of ``avoid``."""
    per_category = -(-n_rows // len(CATEGORIES))
    rows: list[Row] = []
    for category in CATEGORIES:
        drawn = draw_category(category, per_category + 40, seed=seed)
        clean = [row for row in drawn if avoid is None or row.text not in avoid]
        rows += clean[:per_category]
    random.Random(seed).shuffle(rows)
    return rows[:n_rows]


def write_dataset(dataset: dict[str, list[Row]], folder: Path) -> None:
    """One JSON Lines file per category."""
    folder.mkdir(parents=True, exist_ok=True)
    for category, rows in dataset.items():
        lines = (json.dumps(asdict(row), ensure_ascii=False) for row in rows)
        (folder / f"{category}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_dataset(folder: Path) -> list[Row]:
    """All rows in category order."""
    return [
        Row(**json.loads(line))
        for category in CATEGORIES
        for line in (folder / f"{category}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
