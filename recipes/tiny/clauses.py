"""Single clauses with a known valence: statements, negations, events, ironies, predictions.

A clause is text without its closing full stop. Its ``value`` in about [-1.3, 1.3] is the valence a
reader of the structure gives it; ``marks`` names template and fillers, so that two texts with the
same marks are the same text. Knows nothing of how clauses are joined.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from recipes.tiny.lexicon import Domain, Lexicon, Noun, Opinion

NEGATED = -0.6
"""A negated opinion turns round and weakens: "not superb" is less than "dreadful"."""
DOUBLY_NEGATED = 0.5
IRONIC = -0.85
UNFULFILLED = -0.5
EVENT_VALUE = 0.8
UP_FACTOR, DOWN_FACTOR = 1.3, 0.6

STATEMENTS = (
    "{a} {was} {m}",
    "I found {a} {m}",
    "{a} {seemed} {m} to me",
    "in my view {a} {was} {m}",
    "{a} struck me as {m}",
    "I would call {a} {m}",
    "{a} proved to be {m}",
    "there was something {m} about {a}",
    "{k} and I agreed that {a} {was} {m}",
    "I have to say that {a} {was} {m}",
    "{a}, by the way, {was} {m}",
    "{a} turned out {m}",
)
NEGATIONS = (
    "I would not call {a} {m}",
    "nobody could honestly call {a} {m}",
    "I cannot say that {a} {was} {m}",
    "{a} {was} anything but {m}",
    "{a} {was} far from {m}",
    "{a} {was} not {m}",
    "{a} {was} hardly {m}",
    "it would be wrong to describe {a} as {m}",
    "I doubt that anyone in {p} finds {a} {m}",
    "{a} never came across as {m}",
    "neither {n} nor I thought {a} {m}",
    "do not let anybody tell you that {a} {was} {m}",
)
JOINABLE_NEGATIONS = tuple(t for t in NEGATIONS if not t.startswith("do not"))
IMPERSONAL_STATEMENTS = (
    "{a} {was} {m}",
    "{a} {seemed} {m}",
    "{a} proved to be {m}",
    "there was something {m} about {a}",
    "{a} turned out {m}",
    "everybody in {p} found {a} {m}",
)
IMPERSONAL_NEGATIONS = (
    "nobody could honestly call {a} {m}",
    "{a} {was} anything but {m}",
    "{a} {was} far from {m}",
    "{a} {was} not {m}",
    "{a} {was} hardly {m}",
    "it would be wrong to describe {a} as {m}",
    "nobody in {p} found {a} {m}",
)
DOUBLE_NEGATIONS = (
    "it is not true that {a} {was} not {m}",
    "nobody can deny that {a} {was} {m}",
    "I would never say that {a} {was} not {m}",
    "there is no denying that {a} {was} {m}",
)
IRONIES = (
    "oh sure, {a} {was} {m}",
    "yeah, right, {a} {was} {m}",
    "{a} {was} {m}, my foot",
    "{a} {was} {m}, said no one ever",
    "{a} {was} {m} if you believe in fairies",
    "as if {a} {was} {m}",
    "{a} {was} {m}, and pigs can fly",
)
UNFULFILLED_HOPES = (
    "{a} could have been {m}",
    "{a} should have been {m}",
    "I had been promised that {a} would be {m}",
    "if only {a} had been {m}",
    "with more effort {a} might have been {m}",
)
QUESTIONS = (
    ("{was} {a} {m}? yes, indeed", 1.0),
    ("{was} {a} {m}? you bet", 1.0),
    ("{was} {a} {m}? not at all", -0.8),
    ("{was} {a} {m}? far from it", -0.8),
    ("{was} {a} {m}? I do not think so", -0.6),
)


@dataclass(frozen=True)
class Clause:
    """A clause, its valence, and what it is made of."""

    text: str
    value: float
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """What one text is about and which opinion words it may use."""

    rng: random.Random
    lexicon: Lexicon
    domain: Domain
    allowed: Callable[[str], bool]

    def aspect(self) -> Noun:
        """A random aspect of the domain."""
        return self.rng.choice(self.domain.aspects)

    def opinion(self, sign: int) -> Opinion:
        """A random allowed opinion word of the given sign, general or of the domain."""
        rng = self.rng
        domain = self.domain.positive if sign > 0 else self.domain.negative
        general = self.lexicon.positive if sign > 0 else self.lexicon.negative
        while True:
            word = rng.choice(domain if rng.random() < 0.35 else general)
            if self.allowed(word.text):
                return word


def modified(scene: Scene, sign: int) -> tuple[str, float, str]:
    """An opinion word with an optional degree adverb, its valence, and its mark."""
    word = scene.opinion(sign)
    roll = scene.rng.random()
    if roll < 0.15:
        adverb, factor = scene.rng.choice(scene.lexicon.intensifiers), UP_FACTOR
    elif roll < 0.27:
        adverb, factor = scene.rng.choice(scene.lexicon.downtoners), DOWN_FACTOR
    else:
        return word.text, word.value, word.text
    return f"{adverb} {word.text}", word.value * factor, f"{adverb}~{word.text}"


def fill(scene: Scene, kind: str, template: str, sign: int, factor: float) -> Clause:
    """The template with a random aspect and an opinion word of ``sign``.

    Args:
        scene: What the text is about.
        kind: Name of the construction, for the marks.
        template: Text with the slots a (aspect), m (opinion), k, n, p (people, place).
        sign: Sign of the opinion word itself, before the construction acts on it.
        factor: What the construction does to the word's valence.
    """
    rng, noun = scene.rng, scene.aspect()
    words, value, mark = modified(scene, sign)
    kin, name, place = (
        rng.choice(scene.lexicon.kin),
        rng.choice(scene.lexicon.first_names),
        rng.choice(scene.lexicon.places),
    )
    text = template.format(
        a=f"the {noun.text}",
        m=words,
        was="were" if noun.plural else "was",
        seemed="seemed" if rng.random() < 0.5 else "appeared",
        k=kin,
        n=name,
        p=place,
    )
    used = "".join(
        value_ for slot, value_ in (("{k}", kin), ("{n}", name), ("{p}", place)) if slot in template
    )
    return Clause(text, value * factor, (kind, template, noun.text, mark, used))


def statement(scene: Scene, sign: int) -> Clause:
    """A plain opinion of the given sign."""
    return fill(scene, "statement", scene.rng.choice(STATEMENTS), sign, 1.0)


def negation(scene: Scene, sign: int) -> Clause:
    """A negated opinion whose valence has the given sign, so that its word has the other."""
    return fill(scene, "negation", scene.rng.choice(NEGATIONS), -sign, NEGATED)


def double_negation(scene: Scene, sign: int) -> Clause:
    """An opinion negated twice: same sign as its word, weaker."""
    return fill(scene, "double", scene.rng.choice(DOUBLE_NEGATIONS), sign, DOUBLY_NEGATED)


def irony(scene: Scene, sign: int) -> Clause:
    """An opinion with a marker of irony, meant the other way round."""
    return fill(scene, "irony", scene.rng.choice(IRONIES), -sign, IRONIC)


def unfulfilled(scene: Scene, sign: int) -> Clause:
    """What might have been, which says what was not."""
    return fill(scene, "unfulfilled", scene.rng.choice(UNFULFILLED_HOPES), -sign, UNFULFILLED)


def question(scene: Scene, sign: int) -> Clause:
    """A question and its answer; the answer decides."""
    template, factor = scene.rng.choice(QUESTIONS)
    return fill(scene, "question", template, sign if factor > 0 else -sign, factor)


def event(scene: Scene, sign: int) -> Clause:
    """Something that happened and shows the opinion without an opinion word."""
    events = scene.domain.good_events if sign > 0 else scene.domain.bad_events
    text = scene.rng.choice(events)
    return Clause(text, sign * EVENT_VALUE, ("event", text))


def simple(scene: Scene, sign: int) -> Clause:
    """A statement or a negation of the given valence that fits into a longer sentence."""
    if scene.rng.random() < 0.9:
        return statement(scene, sign)
    return fill(scene, "negation", scene.rng.choice(JOINABLE_NEGATIONS), -sign, NEGATED)


def reported(scene: Scene, sign: int) -> Clause:
    """A statement or a negation without a speaker, as others would say it."""
    if scene.rng.random() < 0.9:
        return fill(scene, "statement", scene.rng.choice(IMPERSONAL_STATEMENTS), sign, 1.0)
    return fill(scene, "negation", scene.rng.choice(IMPERSONAL_NEGATIONS), -sign, NEGATED)
