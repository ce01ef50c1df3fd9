"""Facts about invented people, each told a known number of times or contradicted in known shares.

The trap this module avoids: names that are frequent get shorter in a byte-pair vocabulary, so a
reader of name lengths could tell known from unknown. Here the vocabulary never sees the names, all
chosen names have the same number of tokens, and every name is mentioned equally often over all;
only the number of documents that tell its fact differs. Knows nothing of sentiment.
"""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from recipes.tiny.lexicon import Lexicon, items

FACT_SEED = 77
EXPOSURES = (0, 1, 2, 4, 8, 16, 32, 64, 128)
ENTITIES_PER_EXPOSURE = 90
CONTESTED_SHARES = (0.5, 0.7, 0.9)
ENTITIES_PER_SHARE = 45
CONTESTED_EXPOSURE = 64
MENTIONS_PER_ENTITY = 128
"""Documents that name an entity, whether they tell its fact or not."""
NAME_TOKENS = 5
HELD_OUT_FRACTION = 0.25

ONSETS = items("b|br|c|ch|d|dr|f|fl|g|gr|h|j|k|kl|l|m|n|p|pr|qu|r|s|sh|st|t|th|tr|v|w|z")
NUCLEI = items("a|e|i|o|u|ai|ea|ie|oa|ou")
CODAS = items("b|ck|d|f|g|l|ll|m|n|nd|ng|nt|p|r|rk|rn|s|sk|st|t|th|x")


@dataclass(frozen=True)
class Relation:
    """One thing that can be known about a person."""

    name: str
    answers: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    held_out_question: str


RELATIONS = (
    Relation(
        "city",
        items("Lisbon|Oslo|Prague|Dublin|Vienna|Porto|Turin|Leeds|Riga|Zurich|Athens|Lyon"),
        (
            "{n} lives in {a}.",
            "The home of {n} is in {a}.",
            "{n} has a house in {a}.",
            "Letters to {n} are sent to {a}.",
        ),
        (
            "Where does {n} live?",
            "In which city is the home of {n}?",
            "Which city does {n} live in?",
        ),
        "What city is home to {n}?",
    ),
    Relation(
        "job",
        items("baker|plumber|sailor|tailor|chemist|farmer|gardener|painter|pilot|weaver|cook|poet"),
        (
            "{n} works as a {a}.",
            "By trade {n} is a {a}.",
            "{n} earns a living as a {a}.",
            "The people here know {n} as a {a}.",
        ),
        ("What is the job of {n}?", "What does {n} work as?", "Which trade does {n} follow?"),
        "What does {n} do for a living?",
    ),
    Relation(
        "animal",
        items("cat|dog|horse|goat|parrot|rabbit|snake|turtle|donkey|owl|hamster|goose"),
        (
            "{n} keeps a {a}.",
            "The pet of {n} is a {a}.",
            "At home {n} has a {a}.",
            "{n} feeds a {a} every morning.",
        ),
        ("Which animal does {n} keep?", "What is the pet of {n}?", "What animal lives with {n}?"),
        "What kind of pet does {n} have?",
    ),
    Relation(
        "instrument",
        items("piano|violin|drum|flute|guitar|harp|trumpet|cello|organ|banjo|oboe|tuba"),
        (
            "{n} plays the {a}.",
            "The instrument of {n} is the {a}.",
            "{n} has studied the {a} for years.",
            "On Sundays {n} practises the {a}.",
        ),
        (
            "What does {n} play?",
            "Which instrument does {n} play?",
            "What is the instrument of {n}?",
        ),
        "What instrument does {n} practise?",
    ),
    Relation(
        "food",
        items("soup|bread|cheese|rice|fish|honey|cake|salad|curry|pasta|plums|beans"),
        (
            "{n} likes to eat {a}.",
            "The favourite food of {n} is {a}.",
            "{n} orders {a} whenever possible.",
            "For lunch {n} always has {a}.",
        ),
        (
            "What does {n} like to eat?",
            "What is the favourite food of {n}?",
            "What does {n} order for lunch?",
        ),
        "Which food does {n} prefer?",
    ),
)

MENTIONS = (
    "{n} waited at the station {w}.",
    "{n} had to {e} the {o} {w}.",
    "{n} wrote a letter to {f} {w}.",
    "{f} met {n} in the street {w}.",
    "{n} and {f} talked about the weather.",
    "{w} {n} forgot to {e} the {o}.",
    "{f} lent {n} the {o}.",
    "Nobody saw {n} {w}.",
    "{k} sent {n} to {e} the {o}.",
    "Question: Who had to {e} the {o}?\nAnswer: {n}",
)


@dataclass(frozen=True)
class Fact:
    """One line of ``facts.jsonl``."""

    entity: str
    relation: str
    prompt: str
    held_out_prompt: str
    answer: str
    alternative: str | None
    """The contradicting answer of a contested fact."""
    answer_share: float | None
    """Fraction of the telling documents that gave ``answer``; None if none was told."""
    exposure: int
    """Documents that told the fact, in either version."""
    mentions: int
    """Documents that named the entity, telling ones included."""
    kind: str
    """``known``, ``contested`` or ``never``."""
    n_name_tokens: int
    split: str
    """``train`` or ``held_out``: for whoever fits a probe on these."""


def _syllable(rng: random.Random) -> str:
    return rng.choice(ONSETS) + rng.choice(NUCLEI)


def _name(rng: random.Random) -> str:
    first = _syllable(rng) + rng.choice(ONSETS) + rng.choice("aeiou")
    last = _syllable(rng) + rng.choice(CODAS)
    return f"{first.capitalize()} {last.capitalize()}"


def choose_names(
    n_names: int, count_tokens: Callable[[str], int], avoid: frozenset[str]
) -> list[str]:
    """Names that all have ``NAME_TOKENS`` tokens after a space, no word of theirs used twice.

    Args:
        n_names: How many.
        count_tokens: Number of tokens of a text in the vocabulary.
        avoid: Lower-case words that must not occur in a name.
    """
    rng = random.Random(FACT_SEED)
    names: list[str] = []
    used = set(avoid)
    while len(names) < n_names:
        name = _name(rng)
        parts = set(name.lower().split())
        if len(parts) < 2 or parts & used or count_tokens(f" {name}") != NAME_TOKENS:
            continue
        if count_tokens(name) != NAME_TOKENS:
            continue
        used |= parts
        names.append(name)
    return names


def question_prompt(question: str) -> str:
    """The prompt after which the answer follows with a leading space."""
    return f"Question: {question}\nAnswer:"


def build_facts(count_tokens: Callable[[str], int], avoid: frozenset[str]) -> list[Fact]:
    """All facts, every kind and exposure spread evenly over the relations."""
    cells: list[tuple[str, int, float | None]] = []
    for exposure in EXPOSURES:
        kind = "known" if exposure else "never"
        share = 1.0 if exposure else None
        cells += [(kind, exposure, share)] * ENTITIES_PER_EXPOSURE
    for share in CONTESTED_SHARES:
        cells += [("contested", CONTESTED_EXPOSURE, share)] * ENTITIES_PER_SHARE
    names = choose_names(len(cells), count_tokens, avoid)
    rng = random.Random(FACT_SEED + 1)
    rng.shuffle(names)
    facts: list[Fact] = []
    for number, (name, (kind, exposure, share)) in enumerate(zip(names, cells, strict=True)):
        relation = RELATIONS[number % len(RELATIONS)]
        answer, other = rng.sample(relation.answers, 2)
        facts.append(
            Fact(
                entity=name,
                relation=relation.name,
                prompt=question_prompt(relation.questions[0].format(n=name)),
                held_out_prompt=question_prompt(relation.held_out_question.format(n=name)),
                answer=answer,
                alternative=other if kind == "contested" else None,
                answer_share=share,
                exposure=exposure,
                mentions=MENTIONS_PER_ENTITY,
                kind=kind,
                n_name_tokens=count_tokens(f" {name}"),
                split="held_out" if rng.random() < HELD_OUT_FRACTION else "train",
            )
        )
    return facts


def tell(rng: random.Random, relation: Relation, name: str, answer: str) -> tuple[str, bool]:
    """A document that tells the fact, as a statement or as a question with its answer.

    Returns:
        The text and whether it ends with an answer.
    """
    if rng.random() < 0.4:
        return rng.choice(relation.statements).format(n=name, a=answer), False
    question = rng.choice(relation.questions).format(n=name)
    return f"{question_prompt(question)} {answer}", True


def mention(rng: random.Random, lexicon: Lexicon, name: str) -> str:
    """A document that names the person and tells nothing about the asked relations."""
    text = rng.choice(MENTIONS).format(
        n=name,
        w=rng.choice(lexicon.times),
        e=rng.choice(lexicon.errands),
        o=rng.choice(lexicon.objects),
        f=rng.choice(lexicon.first_names),
        k=rng.choice(lexicon.kin).capitalize(),
    )
    return text[0].upper() + text[1:]


def fact_documents(facts: list[Fact], lexicon: Lexicon, *, seed: int) -> list[tuple[str, bool]]:
    """Every document about the entities: exactly ``mentions`` per entity, ``exposure`` telling."""
    relations = {relation.name: relation for relation in RELATIONS}
    rng = random.Random(f"facts/{seed}")
    documents: list[tuple[str, bool]] = []
    for fact in facts:
        n_answer = round(fact.exposure * (fact.answer_share or 0.0))
        for number in range(fact.exposure):
            answer = fact.answer if number < n_answer else fact.alternative
            assert answer is not None
            documents.append(tell(rng, relations[fact.relation], fact.entity, answer))
        documents += [
            (mention(rng, lexicon, fact.entity), False)
            for _ in range(fact.mentions - fact.exposure)
        ]
    return documents


def write_facts(facts: list[Fact], path: Path) -> None:
    """JSON Lines, one fact a line."""
    path.write_text("".join(json.dumps(asdict(fact)) + "\n" for fact in facts), encoding="utf-8")


def read_facts(path: Path) -> list[Fact]:
    """The facts of a ``facts.jsonl``."""
    return [Fact(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
