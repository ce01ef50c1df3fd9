from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.confidence.data.held_out import HeldOutRows
from glassbox.confidence.data.labelled import LabelledTexts, normalise, read_texts
from glassbox.confidence.data.split import (
    PARTS,
    PartSizes,
    fewest_rows,
    part_sizes,
    rare_classes,
    split_rows,
)
from glassbox.errors import CorruptArtifact, InvalidData, InvalidValue, NotEnoughData
from tests.confidence.text_world import labelled


def parts_of(data, **options):
    split = split_rows(data, **options)
    return split, {name: getattr(split, name) for name in PARTS}


def test_exact_counts_of_the_embedded_data():
    data = read_texts("tiny")
    split = split_rows(data)
    assert split.sizes == PartSizes(7_200, 800, 500, 700, 800)
    assert len(split.held_out) == 2_000
    assert split == split_rows(data)
    assert split.data_digest == data.digest


@settings(max_examples=20)
@given(st.integers(28, 1_500), st.integers(0, 5), st.integers(2, 5))
def test_disjoint_exhaustive_and_exact(n_rows, seed, n_classes):
    data = labelled(n_rows, n_classes)
    split, parts = parts_of(data, seed=seed)
    rows = [row for own in parts.values() for row in own]
    assert sorted(rows) == list(range(n_rows))
    assert split.sizes == part_sizes(n_rows)
    assert part_sizes(n_rows).train + part_sizes(n_rows).validation == n_rows - len(split.held_out)
    assert abs(len(split.held_out) - 0.2 * n_rows) <= 0.5
    assert split.part_of()[rows[0]] == "train"
    missing = {
        (label, name)
        for name, own in parts.items()
        for label in set(data.labels) - {data.labels[row] for row in own}
    }
    told = rare_classes(data, split)
    assert bool(told) == bool(missing)
    for label in set(data.labels):
        absent = ", ".join(name for name in PARTS if (label, name) in missing)
        assert (f"{label!r} ({data.labels.count(label)} texts; none for {absent})" in told) == bool(
            absent
        )


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_order_of_the_file_does_not_matter(random, seed):
    data = labelled(300, repeats=20)
    order = list(range(300))
    random.shuffle(order)
    shuffled = replace(
        data,
        texts=tuple(data.texts[i] for i in order),
        labels=tuple(data.labels[i] for i in order),
    )
    one, other = split_rows(data, seed=seed), split_rows(shuffled, seed=seed)
    assert one.digest == other.digest
    for name in PARTS:
        texts = [data.texts[row] for row in getattr(one, name)]
        assert texts == [shuffled.texts[row] for row in getattr(other, name)]


@settings(max_examples=20)
@given(st.integers(0, 20))
def test_equal_texts_stay_together_and_counts_stay_exact(seed):
    data = labelled(400, repeats=80)
    split = split_rows(data, seed=seed)
    part_of = split.part_of()
    home: dict[str, str] = {}
    for row, text in enumerate(data.texts):
        assert home.setdefault(normalise(text), part_of[row]) == part_of[row]
    assert split.sizes == part_sizes(400)


def test_seed_decides():
    data = labelled(500)
    assert split_rows(data, seed=1).held_out != split_rows(data, seed=2).held_out
    assert split_rows(data, seed=1).digest != split_rows(data, seed=2).digest


def test_too_few_rows_says_how_many():
    assert part_sizes(fewest_rows()).smallest == 2
    assert part_sizes(fewest_rows() - 1).smallest < 2
    split_rows(labelled(fewest_rows()))
    with pytest.raises(NotEnoughData, match="five parts needs at least 28 rows; there are 12") as e:
        split_rows(labelled(12))
    assert (e.value.have, e.value.need) == (12, 28)
    with pytest.raises(NotEnoughData, match=r"there are 20. Equal texts count once; 40 rows"):
        split_rows(labelled(40, repeats=20))


def test_a_rare_class_is_told_and_not_refused():
    data = labelled(1_000)
    rare = replace(data, labels=("rare", *["a", "b"] * 499, "a"))
    told = rare_classes(rare, split_rows(rare))
    assert told.startswith("1 class is too rare to be in all five parts: 'rare' (1 text; none for ")
    assert len(told.split("none for ")[1].split(")")[0].split(", ")) == 4
    assert rare_classes(data, split_rows(data)) == ""
    with pytest.raises(NotEnoughData, match=r"Class 'c' needs.*take the class out of labels.toml"):
        split_rows(data, classes=("class0", "class1", "c"))


def test_a_long_list_of_rare_classes_is_cut():
    rare = tuple(f"rare {i}" for i in range(9))
    data = replace(labelled(1_000), labels=(*rare, *["a"] * 991))
    assert "9 classes are too rare" in (told := rare_classes(data, split_rows(data)))
    assert "and 4 more. What is promised holds" in told


def test_training_rows_of_one_class():
    data = labelled(40)
    in_test = split_rows(data).test[0]
    data = replace(data, labels=tuple("a" if i != in_test else "b" for i in range(40)))
    with pytest.raises(NotEnoughData, match="rows of another class than 'a'"):
        split_rows(data)


def test_one_text_repeated_until_it_leaves_parts_empty():
    texts = (*("the same",) * 1_000, *(f"text {i}" for i in range(27)))
    data = replace(labelled(1_027), texts=texts)
    with pytest.raises(InvalidData, match="one text is repeated 1,000 times among 1,027 rows"):
        split_rows(data)


@pytest.fixture
def held_out() -> HeldOutRows:
    data = labelled(1_000)
    data = replace(
        data,
        categories=tuple(f"k{i % 4}" for i in range(1_000)),
        truth=tuple(i / 1_000 for i in range(1_000)),
        truth_label="class1",
    )
    return HeldOutRows.of(data, split_rows(data, seed=3))


def test_held_out_rows(held_out):
    assert len(held_out) == 200
    assert [len(held_out.part(name)) for name in ("calibrator", "threshold", "test")] == [
        50,
        70,
        80,
    ]
    row = held_out.rows[0]
    number = int(row.text.split()[-1])
    assert (row.label, row.category, row.truth) == (
        f"class{number % 2}",
        f"k{number % 4}",
        number / 1000,
    )
    assert row.part == "calibrator"


def test_saved_and_loaded(held_out, tmp_path):
    path = tmp_path / "test_set.json"
    held_out.save(path)
    assert HeldOutRows.load(path) == held_out
    path.write_text(path.read_text().replace("Text number", "Text nummer", 1))
    with pytest.raises(CorruptArtifact, match="does not match the digest"):
        HeldOutRows.load(path)
    path.write_text(path.read_text()[:500])
    with pytest.raises(CorruptArtifact, match="not valid JSON"):
        HeldOutRows.load(path)
    with pytest.raises(CorruptArtifact, match="missing"):
        HeldOutRows.load(tmp_path / "none.json")


@settings(max_examples=20)
@given(st.integers(8, 199), st.integers(8, 200))
def test_samples_are_exact_proportional_and_nested(n_small, n_large):
    data = labelled(1_000)
    held_out = HeldOutRows.of(data, split_rows(data))
    n_small, n_large = sorted((n_small, n_large))
    small, large = held_out.sample(n_small), held_out.sample(n_large)
    assert (len(small), len(large)) == (n_small, n_large)
    assert set(small.rows) <= set(large.rows) <= set(held_out.rows)
    for name, share in (("calibrator", 0.25), ("threshold", 0.35), ("test", 0.4)):
        assert abs(len(small.part(name)) - share * n_small) <= 1


def test_samples_that_cannot_be(held_out):
    assert held_out.sample(200) == held_out
    for n_rows in (0, 201):
        with pytest.raises(InvalidValue, match=r"sample is \d+; allowed: \d+ to 200") as refused:
            held_out.sample(n_rows)
    fewest = int(refused.value.allowed.split()[0])
    smallest = held_out.sample(fewest)
    sizes = [len(smallest.part(part)) for part in ("calibrator", "threshold", "test")]
    assert min(sizes) == 2
    with pytest.raises(InvalidValue, match=f"allowed: {fewest} to 200"):
        held_out.sample(fewest - 1)


def test_plain_data_have_no_category_or_truth():
    data = labelled(200)
    assert isinstance(data, LabelledTexts)
    row = HeldOutRows.of(data, split_rows(data)).rows[0]
    assert (row.category, row.truth) == (None, None)
