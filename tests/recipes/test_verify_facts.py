"""The shipped verifier on embedded facts that it never saw: a small part of the proof."""

import numpy as np
import pytest

from glassbox.introspection.evidence.gathering import gather
from glassbox.introspection.evidence.witness import Witness, plain_encode
from glassbox.introspection.training.figures import judge_rows, stratum_figures
from glassbox.introspection.training.verifier import standing_pairs
from glassbox.introspection.verifier.file import VerifierManifest
from glassbox.runtime import SHIPPED_VERIFIER, Runtime
from glassbox.stats.classification.grouped_auroc import value_auroc
from recipes.verify_facts.facts import embedded_facts, graded_facts
from recipes.verify_facts.proof import CAN_KNOW, exposure

MOST_GAP = 0.10
"""Most that the mean uncertainty of an exposure may be off its error rate."""


def test_the_shipped_verifier_tells_right_from_wrong_about_held_out_entities() -> None:
    runtime = Runtime.load()
    manifest = VerifierManifest.load(SHIPPED_VERIFIER)
    engine = runtime.open_engine(runtime.model_spec("tiny"))
    manifest.check(engine.info)
    held_out = [each for each in embedded_facts() if each.split == "held_out"]
    facts = [each for each in held_out if each.exposure >= CAN_KNOW]
    rows = graded_facts(engine, facts[::5])
    witness = Witness(engine, plain_encode(engine.codec), manifest.plan)
    evidence = gather(witness, standing_pairs(witness, rows))
    judged = judge_rows(rows, [each.values for each in evidence], manifest.fusions)
    assert value_auroc(1 - judged.uncertainty, judged.correct) >= 0.9
    known = np.array([exposure(row) >= 32 for row in rows])
    assert judged.uncertainty[known & judged.correct].mean() < 0.1
    verdict = runtime.verifier(engine).verify("Where does Biedi Hous live?", "Oslo")
    assert verdict.validated
    assert verdict.prompt.startswith("Question: ")
    engine.close()


@pytest.mark.slow
def test_the_shipped_verifier_is_as_unsure_of_the_models_own_responses_as_they_are_wrong() -> None:
    runtime = Runtime.load()
    manifest = VerifierManifest.load(SHIPPED_VERIFIER)
    engine = runtime.open_engine(runtime.model_spec("tiny"))
    held_out = [each for each in embedded_facts() if each.split == "held_out"]
    rows = [each for each in graded_facts(engine, held_out) if each.origin == "written"]
    witness = Witness(engine, plain_encode(engine.codec), manifest.plan)
    evidence = gather(witness, standing_pairs(witness, rows))
    engine.close()
    strata = stratum_figures(judge_rows(rows, [e.values for e in evidence], manifest.fusions))
    assert {each.stratum for each in strata} == {
        f"told {n} times" for n in (0, 1, 2, 4, 8, 16, 32, 64, 128)
    }
    gaps = {each.stratum: each.gap for each in strata}
    assert all(abs(gap) <= MOST_GAP for gap in gaps.values()), gaps
