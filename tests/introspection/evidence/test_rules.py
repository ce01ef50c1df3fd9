"""The rules without a model: heuristic, equivalence, paraphrases, swaps, graded rows, spans."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidData, InvalidValue, UnknownName
from glassbox.introspection.evidence.checks import CHECKS, check_info, features, owners
from glassbox.introspection.evidence.equivalence import clusters, equivalence, exact, normalised
from glassbox.introspection.evidence.paraphrase import Rewrite, paraphrases_by_rule
from glassbox.introspection.evidence.swaps import Swaps, learn_swaps
from glassbox.introspection.training.fusions import Recipe, split
from glassbox.introspection.training.graded import GradedRow, data_digest, read_graded
from glassbox.introspection.verdict import TokenReading
from glassbox.introspection.verifier.spans import surprising_spans
from glassbox.stats.uncertainty.heuristic import estimate_uncertainty
from recipes.verify_facts.facts import QUESTIONS, embedded_facts, fact_rewrites

probs = st.lists(st.floats(0, 1), max_size=8)


@given(entropy=st.floats(0, 20), chances=probs)
def test_the_heuristic_is_the_formula_of_the_typescript_client(
    entropy: float, chances: list[float]
) -> None:
    entropy_score = min(1.0, entropy / 5.0)
    average = sum(chances) / len(chances) if chances else 0.5
    assert estimate_uncertainty(entropy, chances) == (entropy_score + (1.0 - average)) / 2


@pytest.mark.parametrize(
    ("entropy", "chances", "expected"),
    [(0.0, [1.0], 0.0), (5.0, [0.0], 1.0), (99.0, [], 0.75), (2.5, [0.5, 0.7], 0.45)],
)
def test_the_heuristic_at_known_points(
    entropy: float, chances: list[float], expected: float
) -> None:
    assert estimate_uncertainty(entropy, chances) == pytest.approx(expected)


def test_the_heuristic_refuses_what_is_no_entropy_or_probability() -> None:
    with pytest.raises(InvalidValue, match="logits_entropy"):
        estimate_uncertainty(math.nan, [0.5])
    with pytest.raises(InvalidValue, match="generation_probs"):
        estimate_uncertainty(1.0, [1.5])


def test_normalised_answers_forget_case_punctuation_and_articles() -> None:
    assert normalised("", "The  Piano.", "piano")
    assert normalised("", "CAFÉ", "cafe\u0301")
    assert not normalised("", "Vienna", "Lisbon")
    assert not normalised("", "?!", "")
    assert exact("", " Vienna ", "Vienna")
    assert not exact("", "vienna", "Vienna")


@given(st.text(max_size=20), st.text(max_size=20))
def test_equivalences_are_symmetric_and_reflexive(one: str, other: str) -> None:
    for name in ("exact", "normalised"):
        same = equivalence(name)
        assert same("", one, one)
        assert same("", one, other) == same("", other, one)


def test_clusters_count_answers_by_meaning() -> None:
    assert clusters("", ["Oslo", "oslo.", "Riga", "OSLO"], normalised) == [3, 1]
    with pytest.raises(UnknownName, match="equivalence"):
        equivalence("vibes")


@given(st.text(min_size=1, max_size=40))
def test_paraphrases_are_distinct_and_never_the_prompt(prompt: str) -> None:
    for asked in (prompt, f"Question: {prompt}\nAnswer:", f"{prompt}?"):
        found = paraphrases_by_rule(asked)
        assert asked not in found
        assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("Question: Who?\nAnswer:", "Who?"),
        ("Question:\n Who?\n\n \nAnswer: \n", "Who?"),
        ("Q: Who?\nOr what?\nA:", "Who?\nOr what?"),
        ("Question: \nAnswer:", None),
        ("Question:\nAnswer:", None),
        ("Question: Who? Answer:", None),
        ("Q: Who?\nAnswer:", None),
        ("Question: Who?\nAnswer: me", None),
    ],
)
def test_a_question_is_found_in_its_frame(prompt: str, question: str | None) -> None:
    found = paraphrases_by_rule(prompt)
    assert (f"Question: {question}\nAnswer:" in (*found, prompt)) == (question is not None)
    assert bool(found) == (question is not None)


def test_a_prompt_of_blanks_takes_no_longer_than_another() -> None:
    # By a pattern that tries every share of the blanks, this would take hours.
    for blanks in ("\n" * 100_000, " \n" * 50_000):
        assert paraphrases_by_rule(f"Question:{blanks}x") == ()
        assert paraphrases_by_rule(f"Q:{blanks}\nA") == ()


def test_a_rewrite_that_fits_is_used_alone_and_keeps_the_name() -> None:
    found = paraphrases_by_rule("Question: Where does Pito Driesk live?\nAnswer:", fact_rewrites())
    assert len(found) == 3
    assert all("Pito Driesk" in each for each in found)


def test_every_embedded_question_has_other_wordings() -> None:
    rules = fact_rewrites()
    assert len(rules) == sum(map(len, QUESTIONS))
    assert all(len(paraphrases_by_rule(fact.prompt, rules)) == 3 for fact in embedded_facts())


def test_a_broken_rewrite_is_refused() -> None:
    with pytest.raises(InvalidValue, match="regular expression"):
        Rewrite("(", ("x",))
    with pytest.raises(InvalidValue, match="1 groups"):
        Rewrite("(.)", (r"\2",))


@given(st.integers(0, 10_000))
def test_a_swap_changes_one_content_token_and_repeats_itself(seed: int) -> None:
    swaps = Swaps(frozenset({1, 2}), tuple(range(3, 60)))
    prompt = (1, 2, 3 + seed % 50, 2, 4, 5)
    variants = swaps.variants(prompt)
    assert variants == swaps.variants(prompt)
    assert swaps.places(prompt) == [2, 4, 5]
    for at, place in zip(swaps.places(prompt), variants, strict=True):
        assert len(set(place)) == swaps.n_each
        for other in place:
            assert [i for i in range(6) if other[i] != prompt[i]] == [at]


def test_swaps_spread_over_a_long_prompt_and_spare_hidden_tokens() -> None:
    swaps = Swaps(frozenset(), tuple(range(100)), most_places=4)
    assert swaps.places(tuple(range(41))) == [1, 11, 21, 31]
    assert min(swaps.places(tuple(range(41)), first=20)) == 20


def test_frame_and_content_are_told_apart_by_many_prompts() -> None:
    prompts = [(1, 2, 100 + n, 3) for n in range(80)]
    found = learn_swaps(prompts)
    assert found is not None
    assert found.frame == {1, 2, 3}
    assert learn_swaps(prompts[:20]) is None
    assert Swaps.from_json(found.to_json()) == found


def test_features_have_an_owner_each_and_probabilities_beside_logprobs() -> None:
    names = tuple(CHECKS)
    row = {name: -1.0 if info.is_logprob else 0.5 for name, info in CHECKS.items()}
    found = features([row, row], names)
    assert found.shape == (2, len(owners(names)))
    at = owners(names).index(names.index("mean-logprob"))
    assert found[0, at : at + 2].tolist() == [-1.0, math.exp(-1.0)]
    assert check_info("probe:truth").way == "probe"
    with pytest.raises(UnknownName, match="check"):
        check_info("mood")


def row(number: int, part: str = "") -> GradedRow:
    return GradedRow(f"p{number}", "r", number % 2 == 0, group=f"g{number // 2}", part=part)


@given(st.integers(0, 99), st.randoms(use_true_random=False))
def test_a_split_keeps_groups_whole_and_forgets_the_order_of_rows(seed: int, random) -> None:
    rows = [row(n, "test" if n == 3 else "") for n in range(60)]
    recipe = Recipe(seed=seed)
    parts = dict(zip(rows, split(rows, recipe), strict=True))
    assert parts[rows[2]] == parts[rows[3]] == "test"
    assert all(parts[rows[n]] == parts[rows[n + 1]] for n in range(0, 60, 2))
    assert set(parts.values()) == {"fusion", "calibrator", "threshold", "test"}
    mixed = rows[:]
    random.shuffle(mixed)
    assert dict(zip(mixed, split(mixed, recipe), strict=True)) == parts


def test_graded_rows_are_read_from_both_formats(tmp_path: Path) -> None:
    lines = tmp_path / "g.jsonl"
    lines.write_text('{"prompt": "p", "response": "r", "correct": true, "group": "g"}\n\n')
    table = tmp_path / "g.csv"
    table.write_text("prompt,response,correct,group\np,r,yes,g\n")
    assert read_graded(lines) == read_graded(table) == [GradedRow("p", "r", True, group="g")]
    assert data_digest(read_graded(lines)) == data_digest(read_graded(table))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2: not valid JSON"),
        ("[]", "line 2: not a JSON object"),
        ('{"prompt": "p", "response": "r"}', "correct is None"),
        ('{"prompt": "p", "response": "r", "correct": 0.7}', "correct is 0.7"),
        ('{"prompt": " ", "response": "r", "correct": 1}', "'prompt' must be a text"),
        ('{"prompt": "p", "response": 3, "correct": 1}', "'response' must be a text"),
        ('{"prompt": "p", "response": "r", "correct": 1, "x": 1}', "unknown field 'x'"),
        ('{"prompt": "p", "response": "r", "correct": 1, "origin": "me"}', "origin is 'me'"),
        ('{"prompt": "p", "response": "r", "correct": 1, "origin": ["given"]}', "origin is "),
        ('{"prompt": "p", "response": "r", "correct": 1, "part": "dev"}', "part is 'dev'"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "g.jsonl"
    path.write_text('{"prompt": "p", "response": "r", "correct": 1}\n' + line + "\n")
    with pytest.raises(InvalidData, match=f"line 2.*{reason.removeprefix('line 2: ')}"):
        read_graded(path)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        # A comma outside of quotes: half of the response would be read as the whole.
        ("prompt,correct,response\np,true,a, b\n", "line 2: 4 cells where the header has 3"),
        ("prompt,correct,response\n\np,true,r\np,true\n", "line 4: 2 cells where"),
        ("prompt,response,correct,prompt\np,r,true,q\n", "line 1: several columns .*'prompt'"),
        (f"prompt,response,correct\np,{'r' * 140_000},true\n", "line 2: cannot be read as CSV"),
        ('prompt,response,correct\np,"r,true\n', "line 2: cannot be read as CSV"),
        (",,\np,r,true\n", "line 2: unknown field ''"),
        ("\n\n", "no rows"),
    ],
)
def test_a_table_that_would_be_read_wrongly_is_refused(
    tmp_path: Path, table: str, reason: str
) -> None:
    path = tmp_path / "g.csv"
    path.write_text(table)
    with pytest.raises(InvalidData, match=reason):
        read_graded(path)


def test_neighbouring_surprises_become_one_span() -> None:
    def token(text: str, start: int, surprising: bool) -> TokenReading:
        return TokenReading(text, start, start + len(text), -1.0 - start, 0.5, surprising)

    text = "a bad day now"
    tokens = [
        token("a", 0, False), token(" bad", 1, True), token(" day", 5, True),
        token(" now", 9, False),
    ]  # fmt: skip
    (span,) = surprising_spans(text, tokens)
    assert (span.text, span.n_tokens, span.logprob) == (" bad day", 2, -6.0)
