"""Graded responses about the embedded facts, whose truth is known: for tests, tutorial and proof.

For each entity: responses the model itself draws at temperature 1, the true answer, and another
entity's answer of the same relation. Contested facts are left out. Knows the layout of
``facts.jsonl`` and nothing of how a verifier works.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glassbox.engine.protocol import Engine
from glassbox.introspection.equivalence import normalised
from glassbox.introspection.graded import GradedRow
from glassbox.introspection.paraphrase import Rewrite
from glassbox.introspection.verdict import Origin
from glassbox.introspection.witness import Plan, Witness, own_answer, plain_encode

FACTS_FILE: Final = Path(__file__).parents[1] / "assets" / "facts.jsonl"
"""The facts that ship."""

N_WRITTEN: Final = 4
"""Responses of the model's own for each entity."""
N_FOREIGN: Final = 2
"""True foreign responses for each entity, and as many false ones."""

QUESTIONS: Final = (
    (
        "Where does {n} live?",
        "In which city is the home of {n}?",
        "Which city does {n} live in?",
        "What city is home to {n}?",
    ),
    (
        "What is the job of {n}?",
        "What does {n} work as?",
        "Which trade does {n} follow?",
        "What does {n} do for a living?",
    ),
    (
        "Which animal does {n} keep?",
        "What is the pet of {n}?",
        "What animal lives with {n}?",
        "What kind of pet does {n} have?",
    ),
    (
        "What does {n} play?",
        "Which instrument does {n} play?",
        "What is the instrument of {n}?",
        "What instrument does {n} practise?",
    ),
    (
        "What does {n} like to eat?",
        "What is the favourite food of {n}?",
        "What does {n} order for lunch?",
        "Which food does {n} prefer?",
    ),
)
"""Wordings of each relation's question; the last was never in the model's training text."""


@dataclass(frozen=True)
class EmbeddedFact:
    """One line of ``facts.jsonl``, as far as it is used here."""

    entity: str
    """Whom it is about."""
    relation: str
    """What is asked."""
    prompt: str
    """The question."""
    answer: str
    """The true answer."""
    exposure: int
    """Documents that told it during training."""
    n_name_tokens: int
    """Tokens of the name: the trivial baseline."""
    held_out: bool
    """Whether it is kept from fitting."""


def embedded_facts(path: Path = FACTS_FILE) -> list[EmbeddedFact]:
    """Return the facts whose answer is not contested, in file order."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["kind"] != "contested":
            names = ("entity", "relation", "prompt", "answer", "exposure", "n_name_tokens")
            known = {name: record[name] for name in names}
            found.append(EmbeddedFact(**known, held_out=record["split"] == "held_out"))
    return found


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


def graded_facts(
    engine: Engine, facts: Sequence[EmbeddedFact], *, temperature: float = 1.0, seed: int = 0
) -> list[GradedRow]:
    """Return the model's own responses and foreign ones to each fact, graded.

    Args:
        engine: The embedded model.
        facts: What is asked.
        temperature: At which the model answers.
        seed: Of its answers and of the choice of false ones.
    """
    plan = Plan(max_tokens=8, temperature=temperature, seed=seed + 1)
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
    draw = random.Random(seed)
    for number, fact in enumerate(facts):
        others = sorted(each for each in answers[fact.relation] if each != fact.answer)
        given = [fact.answer] * N_FOREIGN + draw.sample(others, N_FOREIGN)
        own = written[number * N_WRITTEN : (number + 1) * N_WRITTEN]
        rows += [_graded(fact, each, "written") for each in own if each]
        rows += [_graded(fact, each, "given") for each in given]
    return rows


def _graded(fact: EmbeddedFact, response: str, origin: Origin) -> GradedRow:
    return GradedRow(
        prompt=fact.prompt,
        response=response,
        correct=normalised(fact.prompt, response, fact.answer),
        group=fact.entity,
        stratum=f"told {fact.exposure} times",
        origin=origin,
        part="test" if fact.held_out else "",
    )
