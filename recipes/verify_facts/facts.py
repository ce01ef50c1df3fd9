"""Graded responses about the embedded facts, whose truth is known.

For each entity: responses the model itself draws at temperature 1, the true answer, and another
entity's answer of the same relation. Contested facts are left out. Knows nothing of how a
verifier works.
"""

import random
from collections.abc import Sequence
from typing import Final

from glassbox.engine.protocol import Engine
from glassbox.introspection.evidence.equivalence import normalised
from glassbox.introspection.evidence.paraphrase import Rewrite
from glassbox.introspection.evidence.witness import Plan, Witness, own_answer, plain_encode
from glassbox.introspection.training.graded import GradedRow
from glassbox.introspection.verdict import Origin
from recipes.tiny.facts import RELATIONS, Fact, read_facts
from recipes.tiny.world import FACTS_PATH

N_WRITTEN: Final = 4
"""Responses of the model's own for each entity."""
N_FOREIGN: Final = 2
"""True foreign responses for each entity, and as many false ones."""

QUESTIONS: Final = tuple((*each.questions, each.held_out_question) for each in RELATIONS)
"""Wordings of each relation's question; the last was never in the model's training text."""


def embedded_facts() -> list[Fact]:
    """Return the facts whose answer is not contested, in file order."""
    return [fact for fact in read_facts(FACTS_PATH) if fact.kind != "contested"]


def fact_rewrites() -> tuple[Rewrite, ...]:
    """Return the rules that turn one wording of a question into the others."""
    rules = []
    for wordings in QUESTIONS:
        for asked in wordings:
            pattern = f"Question: {asked.replace('?', '[?]').format(n='(.+)')}\nAnswer:"
            others = tuple(
                f"Question: {other.format(n=chr(92) + '1')}\nAnswer:"
                for other in wordings
                if other != asked
            )
            rules.append(Rewrite(pattern, others))
    return tuple(rules)


def facts_plan() -> Plan:
    """Return how the embedded model is asked about facts; swaps are learned when training."""
    return Plan(rewrites=fact_rewrites(), max_tokens=8, frame="Question: {prompt}\nAnswer:")


def graded_facts(engine: Engine, facts: Sequence[Fact]) -> list[GradedRow]:
    """Return the embedded model's own responses and foreign ones to each fact, graded."""
    plan = Plan(max_tokens=8, temperature=1.0, seed=1)
    witness = Witness(engine, plain_encode(engine.codec), plan)
    requests = [
        own_answer(witness, fact.prompt, number) for fact in facts for number in range(N_WRITTEN)
    ]
    written = [each.text.strip() for each in engine.generate(requests)]
    answers: dict[str, list[str]] = {}
    for fact in embedded_facts():
        known = answers.setdefault(fact.relation, [])
        if fact.answer not in known:
            known.append(fact.answer)
    rows = []
    draw = random.Random(0)
    for number, fact in enumerate(facts):
        others = sorted(each for each in answers[fact.relation] if each != fact.answer)
        given = [fact.answer] * N_FOREIGN + draw.sample(others, N_FOREIGN)
        own = written[number * N_WRITTEN : (number + 1) * N_WRITTEN]
        rows += [_graded(fact, each, "written") for each in own if each]
        rows += [_graded(fact, each, "given") for each in given]
    return rows


def _graded(fact: Fact, response: str, origin: Origin) -> GradedRow:
    return GradedRow(
        prompt=fact.prompt,
        response=response,
        correct=normalised(fact.prompt, response, fact.answer),
        group=fact.entity,
        stratum=f"told {fact.exposure} times",
        origin=origin,
        part="test" if fact.split == "held_out" else "",
    )
