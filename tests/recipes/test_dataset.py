"""The dataset that ships is what the recipe draws, balanced, unique and clean."""

import json

import numpy as np
import pytest

from recipes.tiny import world
from recipes.tiny.leaks import NearDuplicateIndex, near_duplicate_pairs, shingles, words
from recipes.tiny.sentiment import (
    CATEGORIES,
    CONFIDENCE_RANGES,
    ROWS_PER_CATEGORY,
    category_of,
    draw_category,
    draw_development,
    read_dataset,
)


@pytest.fixture(scope="module")
def rows():
    return read_dataset(world.DATASET_FOLDER)


def test_every_category_has_its_rows_and_its_keys(rows):
    assert len(rows) == ROWS_PER_CATEGORY * len(CATEGORIES) == 10_000
    for category in CATEGORIES:
        lines = (world.DATASET_FOLDER / f"{category}.jsonl").read_text("utf-8").splitlines()
        assert len(lines) == ROWS_PER_CATEGORY
        assert list(json.loads(lines[0])) == ["text", "category", "p_positive", "label"]


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_file_is_what_the_recipe_draws(rows, category):
    shipped = [row for row in rows if row.category == category]
    assert draw_category(category, 60)[:50] == shipped[:50]


def test_texts_are_unique_and_no_two_are_nearly_the_same(rows):
    texts = [row.text for row in rows]
    assert len(set(texts)) == len(texts)
    assert near_duplicate_pairs(texts) == []


def test_category_follows_from_probability_and_the_label_from_a_draw(rows):
    opinions = [row for row in rows if not row.category.startswith("neutral")]
    assert all(category_of(row.p_positive) == row.category for row in opinions[::7])
    truth = np.array([row.p_positive for row in rows])
    labels = np.array([row.label == "positive" for row in rows])
    error = (truth * (1 - truth)).sum() ** 0.5
    assert abs(labels.sum() - truth.sum()) < 4 * error
    assert 0.86 < np.maximum(truth, 1 - truth).mean() < 0.9


def test_the_vocabulary_is_broad(rows):
    assert len({word for row in rows for word in words(row.text)}) > 1_900


def test_probabilities_between_the_ranges_have_no_category():
    low = CONFIDENCE_RANGES["weak"][0]
    assert category_of(low - 0.01) is None
    assert category_of(low + 0.01) == "weak_positive"
    assert category_of(1 - low - 0.01) == "weak_negative"
    assert category_of(0.999) == "strong_positive"


def test_the_development_set_keeps_away_from_the_dataset(rows):
    index = NearDuplicateIndex(row.text for row in rows)
    fresh = draw_development(80, seed=1, avoid=index)
    assert len(fresh) == 80
    assert not any(row.text in index for row in fresh)


def test_near_duplicates_are_found_by_both_searches():
    texts = [
        "the soup was superb and the waiter was kind to all of us that night in may",
        "the soup was superb and the waiter was kind to all of us that night in june",
        "a wholly different sentence about trains and timetables in the rain",
    ]
    assert [(i, j) for i, j, _ in near_duplicate_pairs(texts)] == [(0, 1)]
    index = NearDuplicateIndex(texts[:1])
    assert texts[1] in index
    assert texts[2] not in index
    assert index.wholly_inside(f"I think that {texts[0]} or so.") == {0}
    assert index.wholly_inside(texts[2]) == set()


def test_jaccard_agrees_with_the_definition(rows):
    texts = [row.text for row in rows[:150]]
    found = {(i, j): v for i, j, v in near_duplicate_pairs(texts, threshold=0.05)}
    for i in range(0, 150, 11):
        for j in range(i + 1, 150, 7):
            a, b = shingles(texts[i]), shingles(texts[j])
            jaccard = len(a & b) / len(a | b)
            assert found.get((i, j), 0.0) == pytest.approx(jaccard if jaccard >= 0.05 else 0.0)
