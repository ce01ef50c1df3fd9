"""Verifying with engines: what is read, what it costs, what is fused, what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glassbox.engine.requests import Request, Sampling
from glassbox.errors import (
    AdapterMismatch,
    CorruptArtifact,
    InvalidValue,
    NotEnoughData,
    TextTooLong,
    UnknownName,
)
from glassbox.introspection.evidence.checks import CHECKS, READING
from glassbox.introspection.evidence.gathering import as_it_stands, gather
from glassbox.introspection.evidence.swaps import Swaps
from glassbox.introspection.evidence.witness import Asked, Plan, Witness, plain_encode
from glassbox.introspection.training.figures import FUSION, judge_rows, measure
from glassbox.introspection.training.fusions import Recipe, fit_fusions, split
from glassbox.introspection.training.graded import GradedRow
from glassbox.introspection.training.verifier import train_verifier
from glassbox.introspection.verdict import Verdict
from glassbox.introspection.verifier.file import VERIFIER_FILE, VerifierManifest
from glassbox.introspection.verifier.fusion import Fusion, choose
from glassbox.introspection.verifier.verify import Verifier
from glassbox.stats.classification.balanced_logistic import LogisticFit
from glassbox.stats.uncertainty.heuristic import estimate_uncertainty
from glassbox.testing import FakeEngine, tiny_engine

PROMPT = "Question: Where does Pito live?\nAnswer:"


def simulated(n: int = 400, seed: int = 0) -> tuple[list[GradedRow], list[dict[str, float]]]:
    """Rows whose log-probability tells right from wrong, with every reading check."""
    rng = np.random.default_rng(seed)
    rows, values = [], []
    for number in range(n):
        chance = rng.random()
        correct = bool(rng.random() < chance)
        logprob = math.log(chance + 1e-3) + 0.1 * rng.normal()
        rows.append(
            GradedRow(f"p{number}", "r" * (1 + number % 7), correct, stratum=f"s{number % 3}")
        )
        values.append(
            dict.fromkeys(READING, 0.5)
            | {"mean-logprob": logprob, "agreement": float(rng.random() < chance)}
        )
    return rows, values


def fitted(seed: int = 0) -> tuple[Fusion, ...]:
    rows, values = simulated(seed=seed)
    return fit_fusions(rows, values, split(rows, Recipe()), Recipe())


def manifest(engine: FakeEngine, **changes: object) -> VerifierManifest:
    info = engine.info
    made = VerifierManifest(info.name, info.digest, Plan(k=4, max_tokens=4), fitted(), "0" * 64)
    return replace(made, **changes)


def _read(verdict: Verdict) -> dict[str, float]:
    return {each.name: each.value for each in verdict.checks if each.value is not None}


def test_the_reading_checks_are_those_of_a_teacher_forced_pass() -> None:
    engine = tiny_engine()
    standing = as_it_stands(engine.codec, PROMPT, "the positive one")
    (ids,) = engine.codec.encode([standing], special=False)
    prompt = plain_encode(engine.codec)(PROMPT).ids
    reading = engine.generate(
        [Request(prompt, response=ids, sampling=Sampling(max_tokens=1, top_logprobs=1))]
    )[0].tokens
    verdict = Verifier(engine).verify(PROMPT, "the positive one", k=0)
    found = {check.name: check.value for check in verdict.checks}
    assert found["mean-logprob"] == pytest.approx(float(reading.logprobs.mean()), abs=1e-4)
    assert found["min-logprob"] == pytest.approx(float(reading.logprobs.min()), abs=1e-4)
    assert found["mean-entropy"] == pytest.approx(float(reading.entropies.mean()), abs=1e-4)
    assert found["margin"] == pytest.approx(
        float((reading.logprobs - reading.top_logprobs[:, 0]).mean()), abs=1e-4
    )
    engine.close()


def test_without_a_verifier_the_heuristic_answers_and_says_so() -> None:
    verdict = Verifier(FakeEngine()).verify(PROMPT, "Vienna", k=3)
    probs = [math.exp(token.logprob) for token in verdict.tokens]
    entropy = float(np.mean([token.entropy for token in verdict.tokens]))
    assert verdict.uncertainty == pytest.approx(estimate_uncertainty(entropy, probs), abs=1e-6)
    assert (verdict.method, verdict.validated, verdict.decision) == ("heuristic", False, "review")
    assert verdict.threshold is None
    assert verdict.verifier_digest is None
    assert "nobody validated" in verdict.notes[0]
    assert verdict.confidence == 1 - verdict.uncertainty


def test_the_same_question_gets_the_same_verdict() -> None:
    first, second = (Verifier(FakeEngine()).verify(PROMPT) for _ in range(2))
    assert replace(first, seconds=0, checks=()) == replace(second, seconds=0, checks=())
    assert [c.value for c in first.checks] == [c.value for c in second.checks]


def test_tokens_cover_the_response_character_by_character() -> None:
    response = "the pôsitive 🙂 one, and the negative."
    for engine in (FakeEngine(), tiny_engine()):
        verdict = Verifier(engine).verify(PROMPT, response, k=0)
        assert verdict.response == response
        covered = [False] * len(response)
        for token in verdict.tokens:
            assert 0 <= token.start <= token.end <= len(response)
            covered[token.start : token.end] = [True] * (token.end - token.start)
        assert all(covered)
        engine.close()


def test_the_model_writes_an_answer_where_none_is_given() -> None:
    verdict = Verifier(FakeEngine(), manifest(FakeEngine())).verify(PROMPT)
    assert verdict.origin == "written"
    assert verdict.response == verdict.response.strip() != ""
    assert any("trained on given responses" in each for each in verdict.notes)


def test_agreement_counts_the_models_own_answers_that_are_the_same() -> None:
    engine = FakeEngine()
    verifier = Verifier(engine, same=lambda _prompt, one, other: len(one) <= len(other))
    verdict = verifier.verify(PROMPT, "x", k=6)
    assert len(verdict.samples) == 6
    value = next(check.value for check in verdict.checks if check.name == "agreement")
    assert value == np.mean([sample.agrees for sample in verdict.samples])
    asked = {sample.prompt for sample in verdict.samples}
    assert asked == {PROMPT, *verdict.paraphrases}


def cut_off(engine: FakeEngine, max_tokens: int, **asked: object) -> list[str]:
    """Notes on answers that were cut off, of a verifier with so many tokens for each."""
    plan = Plan(k=4, max_tokens=max_tokens, stop=())
    verdict = Verifier(engine, manifest(engine, plan=plan)).verify(PROMPT, **asked)
    return [note for note in verdict.notes if "cut off" in note]


def test_answers_that_were_cut_off_are_told() -> None:
    engine = FakeEngine()
    (samples,) = cut_off(engine, 1, response="Vienna")
    assert samples.startswith("4 of the model's own answers were cut off")
    (one,) = cut_off(engine, 1, response="Vienna", k=1)
    assert one.startswith("1 of the model's own answers was cut off")
    assert cut_off(engine, 1, response="Vienna", k=0) == []


def test_an_answer_that_is_judged_half_is_told() -> None:
    (judged,) = cut_off(FakeEngine(), 1, k=0)
    assert judged == "The answer that is judged was cut off at 1 token, the most allowed."


def test_given_paraphrases_replace_those_by_rule() -> None:
    verdict = Verifier(FakeEngine()).verify(PROMPT, "x", k=4, paraphrases=["Where is Pito?"])
    assert verdict.paraphrases == ("Where is Pito?",)
    none = Verifier(FakeEngine()).verify(PROMPT, "x", k=0, paraphrases=[])
    missing = {check.name: check.note for check in none.checks if check.value is None}
    assert set(missing) == {
        "agreement", "answer-entropy", "paraphrase-logprob", "swap-mean", "swap-least", "swap-most",
    }  # fmt: skip
    assert all(missing.values())


def test_costs_add_up_and_stand_at_the_first_check_of_each_way() -> None:
    engine = FakeEngine()
    verdict = Verifier(engine).verify(PROMPT, "Vienna", k=5)
    assert sum(check.n_tokens for check in verdict.checks) == verdict.n_tokens
    paid = [check.name for check in verdict.checks if check.n_tokens]
    assert paid == ["mean-logprob", "agreement", "paraphrase-logprob"]


def test_evidence_together_is_evidence_alone() -> None:
    engine = FakeEngine()
    plan = Plan(k=3, max_tokens=4, swaps=Swaps(frozenset(), tuple(range(2, 40)), n_each=2))
    witness = Witness(engine, plain_encode(engine.codec), plan)
    pairs = [(PROMPT, "Vienna"), ("Where?", "the one"), (PROMPT, "Oslo"), (PROMPT, "Vienna")]
    together = gather(witness, pairs)
    for pair, found in zip(pairs, together, strict=True):
        alone = gather(witness, [pair])[0]
        assert found.values == pytest.approx(alone.values)
        assert found.samples == alone.samples
    assert set(together[0].values) == set(CHECKS)


def test_a_hidden_system_prompt_is_read_but_never_swapped_or_shown() -> None:
    engine = FakeEngine()
    seen: list[Request] = []
    secret = engine.codec.encode(["be kind\n"])[0]

    def encode(prompt: str) -> Asked:
        return Asked((*secret, *engine.codec.encode([prompt], special=False)[0]), len(secret))

    original = engine.submit
    engine.submit = lambda request, listen=None: seen.append(request) or original(request, listen)
    verdict = Verifier(engine, encode=encode).verify(PROMPT, "Vienna", k=2)
    assert "be kind" not in repr(verdict)
    assert all(request.n_hidden == len(secret) for request in seen)


def test_a_fusion_judges_and_its_parts_add_up() -> None:
    engine = FakeEngine()
    verdict = Verifier(engine, manifest(engine)).verify(PROMPT, "Vienna")
    assert verdict.method == "fusion"
    assert verdict.validated
    assert sum(check.weight for check in verdict.checks) == pytest.approx(1)
    fusion = choose(fitted(), "given", _read(verdict))
    assert fusion is not None
    constant = fusion.slope * fusion.fit.bias + fusion.offset
    log_odds = constant + sum(check.contribution for check in verdict.checks)
    assert verdict.confidence == pytest.approx(1 / (1 + math.exp(-log_odds)), abs=1e-6)
    accepted = verdict.threshold is not None and verdict.uncertainty <= verdict.threshold
    assert (verdict.decision == "accept") == accepted


def test_without_samples_the_lean_fusion_judges_and_a_note_says_so() -> None:
    engine = FakeEngine()
    verifier = Verifier(engine, manifest(engine))
    full, lean = verifier.verify(PROMPT, "Vienna"), verifier.verify(PROMPT, "Vienna", k=0)
    assert full.uncertainty != lean.uncertainty
    assert "instead of" in " ".join(lean.notes)
    # Nothing is run that is not weighed.
    assert lean.n_tokens == lean.checks[0].n_tokens < full.n_tokens
    unread = [check for check in lean.checks if check.value is None]
    assert {check.name for check in unread} >= {"agreement", "paraphrase-logprob"}
    assert all("k is 0" in check.note for check in unread)
    fewer = verifier.verify(PROMPT, "Vienna", k=2)
    assert "trained with 4 samples; here it had 2" in " ".join(fewer.notes)


def test_what_cannot_be_verified_is_refused() -> None:
    engine = FakeEngine()
    verifier = Verifier(engine)
    with pytest.raises(InvalidValue, match="prompt"):
        verifier.verify("  ", "x")
    with pytest.raises(InvalidValue, match="response"):
        verifier.verify(PROMPT, " \n")
    with pytest.raises(InvalidValue, match="k is -1"):
        verifier.verify(PROMPT, "x", k=-1)
    with pytest.raises(TextTooLong, match="tokens"):
        verifier.verify(PROMPT, "long " * 2000, k=0)


@pytest.mark.parametrize("k", [0, 3])
def test_a_wording_that_does_not_fit_is_named_as_it_was_given(k: int) -> None:
    verifier = Verifier(FakeEngine())
    with pytest.raises(TextTooLong, match=r"paraphrase 2 takes \d+ tokens.*response after it"):
        verifier.verify(PROMPT, "x", k=k, paraphrases=["Where?", "long " * 2000])
    with pytest.raises(TextTooLong, match="The text, prompt and response together, takes"):
        verifier.verify(PROMPT, "long " * 2000, k=k, paraphrases=["Where?"])


def test_wordings_made_by_rule_that_do_not_fit_are_left_out() -> None:
    engine = FakeEngine(context=150)
    question = f"Where is the {'o' * 80}?"
    n_tokens = len(engine.codec.encode([question])[0])
    short = Verifier(engine).verify(question, "x", k=2)
    assert short.paraphrases
    fits = Verifier(FakeEngine(context=n_tokens + 8))
    verdict = fits.verify(question, "x", k=0)
    assert len(verdict.paraphrases) < len(short.paraphrases)
    longest = max(short.paraphrases, key=len)
    assert longest not in verdict.paraphrases


def test_a_verifier_of_another_model_is_refused_with_both_digests() -> None:
    engine, other = FakeEngine(seed=0), FakeEngine(seed=1)
    with pytest.raises(AdapterMismatch) as caught:
        Verifier(other, manifest(engine))
    assert engine.info.digest[:12] in str(caught.value)
    assert other.info.digest[:12] in str(caught.value)
    with pytest.raises(InvalidValue, match="adapter"):
        Verifier(engine, manifest(engine), adapter="mine")


def test_a_manifest_survives_its_file_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    engine = FakeEngine()
    swaps = Swaps(frozenset({1}), tuple(range(2, 60)))
    made = manifest(engine, plan=Plan(k=4, swaps=swaps, frame="Q: {prompt}\nA:"))
    path = made.save(tmp_path)
    read = VerifierManifest.load(tmp_path)
    assert read.digest == made.digest
    assert read.plan == made.plan
    row = dict.fromkeys(READING, 0.2) | {"agreement": 0.5}
    assert read.fusions[0].judge(row) == made.fusions[0].judge(row)
    content = json.loads(path.read_text())
    content["fusions"][0]["bias"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(CorruptArtifact, match="digest"):
        VerifierManifest.load(tmp_path)
    content["fusions"][0]["bias"] = ""
    path.write_text(json.dumps(content))
    with pytest.raises(CorruptArtifact, match="a field is missing or wrong"):
        VerifierManifest.load(tmp_path)
    del content["fusions"][0]["weight"]
    path.write_text(json.dumps(content))
    with pytest.raises(CorruptArtifact, match="weight"):
        VerifierManifest.load(tmp_path)
    with pytest.raises(UnknownName, match="verifier"):
        VerifierManifest.load(tmp_path / "nowhere")
    assert path.name == VERIFIER_FILE


def test_a_frame_is_put_around_a_prompt_once() -> None:
    plan = Plan(frame="Question: {prompt}\nAnswer:")
    framed = plan.framed("Where?")
    assert framed == "Question: Where?\nAnswer:"
    assert plan.framed(framed) == plan.framed("Question: Where?") == framed
    with pytest.raises(InvalidValue, match="frame"):
        Plan(frame="nothing")


def test_a_fitted_fusion_separates_and_is_calibrated() -> None:
    rows, values = simulated(3000)
    parts = split(rows, Recipe())
    fusions = fit_fusions(rows, values, parts, Recipe(max_error=0.2))
    test = [i for i, part in enumerate(parts) if part == "test"]
    judged = judge_rows([rows[i] for i in test], [values[i] for i in test], fusions)
    figures = measure(judged, n_draws=50)
    assert figures.separation[FUSION].auroc.estimate > 0.8
    assert figures.separation["response length"].auroc.estimate == pytest.approx(0.5, abs=0.08)
    assert figures.ece.estimate < figures.null.quantile_99
    assert figures.n_accepted > 0
    assert figures.n_accepted_wrong / figures.n_accepted < 0.25
    assert {each.stratum for each in figures.strata} == {"s0", "s1", "s2"}


def test_too_few_rows_are_refused() -> None:
    rows, values = simulated(60)
    with pytest.raises(NotEnoughData, match="part of given responses"):
        fit_fusions(rows, values, split(rows, Recipe()), Recipe())


def test_too_few_rows_are_refused_before_the_model_is_asked(tmp_path: Path) -> None:
    engine = FakeEngine()
    witness = Witness(engine, plain_encode(engine.codec), Plan(k=2))
    rows = [GradedRow("Where?", f"there {n}", n % 2 == 0, group="all one") for n in range(500)]
    with pytest.raises(NotEnoughData, match="about 250 graded responses in groups"):
        train_verifier(witness, rows, tmp_path / "verifier", Recipe())
    assert engine.n_prompts == 0
    assert not (tmp_path / "verifier").exists()


def test_a_fusion_of_the_same_origin_goes_before_a_fuller_one() -> None:
    fit = LogisticFit(np.zeros(2), np.ones(2), np.zeros(2), 0.0)
    lean = Fusion("written", ("mean-logprob",), fit, 1.0, 0.0, None, "", 1)
    more = LogisticFit(np.zeros(3), np.ones(3), np.zeros(3), 0.0)
    full = Fusion("given", ("mean-logprob", "agreement"), more, 1.0, 0.0, None, "", 1)
    here = {"mean-logprob": -1.0, "agreement": 0.5}
    assert choose([full, lean], "written", here) is lean
    assert choose([full, lean], "given", here) is full
    assert choose([full, lean], "given", {"mean-logprob": -1.0}) is lean
    assert choose([full, lean], "given", {}) is None


def test_training_writes_a_verifier_and_goes_on_where_it_was(tmp_path: Path) -> None:
    engine = FakeEngine()
    witness = Witness(engine, plain_encode(engine.codec), Plan(k=2, max_tokens=3))
    rng = np.random.default_rng(0)
    rows = [
        GradedRow(
            f"Where is number {n % 20}?",
            "here" if n % 3 else "there",
            bool(rng.random() < 0.6),
            group=str(n),
        )
        for n in range(330)
    ]
    recipe = Recipe(max_error=0.5)
    first = train_verifier(witness, rows, tmp_path, recipe)
    assert sum(first.n_parts.values()) == len(rows)
    before = engine.n_prompts
    again = train_verifier(witness, rows, tmp_path, recipe)
    assert engine.n_prompts == before
    assert again.manifest.digest == first.manifest.digest
    verdict = Verifier(engine, VerifierManifest.load(tmp_path)).verify(rows[0].prompt, "here")
    assert verdict.validated
