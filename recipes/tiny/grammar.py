"""Texts about the lexicon's domains, composed from clauses, with a known probability of "positive".

The rule, on which the truth of the dataset rests: each clause has a valence (``clauses.py``); a
joining construction weighs the valences of its parts by what it does to them (in "X, but Y" the
second part counts fully, the first a little); a text's logit is ``LOGIT_SCALE`` times the sum, and
``p_positive = sigmoid(logit)``. Knows nothing of the dataset's categories.

Source: the dominance of the clause after "but" and of the main clause over a concession follows
Polanyi & Zaenen 2006, "Contextual valence shifters"; the weights are ours.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recipes.tiny import clauses
from recipes.tiny.clauses import Clause, Scene
from recipes.tiny.lexicon import Domain, Lexicon

LOGIT_SCALE = 4.2
MAX_LOGIT = 5.2
RECESSIVE = 0.2
"""Weight of the part that a contrast, a concession or an earlier time pushes back."""
REPORTED = 0.1
"""Weight of what others say, once the speaker disagrees or speaks for themselves."""
OPPOSITE_PROBABILITY = 0.55
"""How often the two parts of a contrasting construction have opposite signs."""

RECESSIVE_FIRST = (
    "{x}, but {y}",
    "{x}, yet {y}",
    "although {x}, {y}",
    "even though {x}, {y}",
    "while {x}, {y}",
    "{x}. however, {y}",
    "{x}. even so, {y}",
    "granted, {x}; still, {y}",
    "{x}, and nevertheless {y}",
    "no matter that {x}: {y}",
)
DOMINANT_FIRST = (
    "{y}, although {x}",
    "{y}, even if {x}",
    "{y}, despite the fact that {x}",
    "{y}; never mind that {x}",
)
TIMES = (
    "at first {x}, later {y}",
    "in the beginning {x}, in the end {y}",
    "last year {x}; this time {y}",
    "a while ago I would have said that {x}, today I say that {y}",
    "{y}, whereas in the old days {x}",
    "{y}, after a first hour in which {x}",
)
REPORTS = (
    "{c} said that {x}, but {y}",
    "according to {c}, {x}; for me, {y}",
    "{c} told us that {x}. in truth, {y}",
    "{k} thought that {x}, while I say that {y}",
    "{y}, even if {c} wrote that {x}",
    "{y}, whatever {k} says: that {x}",
)
AGREEMENTS = (
    ("{c} said that {x}, and they were right", 0.8),
    ("{k} told me that {x}, and I agree", 0.8),
    ("{c} wrote that {x}, and it is true", 0.8),
    ("{c} said that {x}, and they were wrong", -0.7),
    ("{k} told me that {x}, and I disagree", -0.7),
    ("{c} wrote that {x}. nothing could be further from the truth", -0.8),
    ("{k} claims that {x}, which is nonsense", -0.7),
)
EXPECTATIONS = (
    ("I feared that {x}, and so it was", 0.8),
    ("I expected that {x}, and I was right", 0.8),
    ("I feared that {x}, and it was quite the opposite", -0.7),
    ("I expected that {x}, and I was mistaken", -0.7),
    ("I had hoped to hear that {x}, in vain", -0.6),
)
COMPARISONS = (
    "in the last {t} we tried, {x}; here {y}",
    "with the {t} in {p}, {x}. with this one, {y}",
    "{k} knows a {t} where {x}. in ours, {y}",
    "compared with another {t}, where {x}, {y}",
)
LISTS = ("{x} and {y}", "{x}, and {y}", "{x}; besides, {y}", "{x}. also, {y}")
CONTEXTS = (
    "{n} and I {v} the {t} {w}",
    "{k} and I {v} the {t} in {p} {w}",
    "we {v} this {t} {w}",
    "this is about the {t} in {p}",
    "{n} {v} a {t} {w} and asked for my view",
    "I {v} it {w} with {k}",
    "a word on the {t} that {n} {v} {w}",
    "we {v} the {t} near {p}",
    "{n}, who works as {j}, {v} the {t} {w}",
    "{k}, {j} from {p}, {v} this {t} with me",
    "we {v} the {t} after I had to {e} the {o}",
    "I {v} the {t} {w} with {j} and {j2}",
    "on the way to {e} the {o} in {p} we {v} a {t}",
)

Construction = Callable[[Scene, int], Clause]


@dataclass(frozen=True)
class Text:
    """A finished text with its truth."""

    text: str
    logit: float
    marks: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def p_positive(self) -> float:
        """Probability in [0, 1] that the label is positive."""
        return 1.0 / (1.0 + math.exp(-self.logit))


def _slots(scene: Scene) -> dict[str, str]:
    rng, lexicon = scene.rng, scene.lexicon
    crowd = rng.choice(lexicon.crowd)
    return {
        "c": crowd.text,
        "k": rng.choice(lexicon.kin),
        "p": rng.choice(lexicon.places),
        "t": rng.choice(scene.domain.things),
        "n": rng.choice(lexicon.first_names),
        "v": rng.choice(scene.domain.verbs),
        "w": rng.choice(lexicon.times),
        "j": rng.choice(lexicon.jobs),
        "j2": rng.choice(lexicon.jobs),
        "e": rng.choice(lexicon.errands),
        "o": rng.choice(lexicon.objects),
    }


def _join(
    scene: Scene, kind: str, template: str, parts: Mapping[str, Clause], value: float
) -> Clause:
    slots = _slots(scene)
    text = template.format(**slots, **{name: part.text for name, part in parts.items()})
    used = tuple(slot for name, slot in slots.items() if f"{{{name}}}" in template)
    marks = (kind, template, *used)
    for part in parts.values():
        marks += part.marks
    return Clause(text, value, marks)


def _other_sign(scene: Scene, sign: int) -> int:
    return -sign if scene.rng.random() < OPPOSITE_PROBABILITY else sign


def _outer(scene: Scene, sign: int) -> Clause:
    """The dominating part: any clause, an event now and then."""
    roll = scene.rng.random()
    if roll < 0.12:
        return clauses.event(scene, sign)
    if roll < 0.2:
        return clauses.unfulfilled(scene, sign)
    return clauses.simple(scene, sign)


def contrast(scene: Scene, sign: int) -> Clause:
    """X against Y: Y decides."""
    x, y = clauses.simple(scene, _other_sign(scene, sign)), _outer(scene, sign)
    template = scene.rng.choice(RECESSIVE_FIRST if scene.rng.random() < 0.65 else DOMINANT_FIRST)
    return _join(scene, "contrast", template, {"x": x, "y": y}, RECESSIVE * x.value + y.value)


def change(scene: Scene, sign: int) -> Clause:
    """X earlier, Y later: Y decides."""
    x, y = clauses.simple(scene, _other_sign(scene, sign)), clauses.simple(scene, sign)
    template = scene.rng.choice(TIMES)
    return _join(scene, "change", template, {"x": x, "y": y}, RECESSIVE * x.value + y.value)


def report(scene: Scene, sign: int) -> Clause:
    """Others say X, the speaker says Y: Y decides."""
    x, y = clauses.reported(scene, _other_sign(scene, sign)), clauses.simple(scene, sign)
    template = scene.rng.choice(REPORTS)
    return _join(scene, "report", template, {"x": x, "y": y}, REPORTED * x.value + y.value)


def comparison(scene: Scene, sign: int) -> Clause:
    """X is true of something else, Y of this: Y alone counts."""
    x, y = clauses.reported(scene, _other_sign(scene, sign)), clauses.simple(scene, sign)
    template = scene.rng.choice(COMPARISONS)
    return _join(scene, "comparison", template, {"x": x, "y": y}, y.value)


def agreement(scene: Scene, sign: int) -> Clause:
    """Others say X; the speaker agrees or disagrees."""
    template, factor = scene.rng.choice(AGREEMENTS)
    x = clauses.reported(scene, sign if factor > 0 else -sign)
    return _join(scene, "agreement", template, {"x": x}, factor * x.value)


def expectation(scene: Scene, sign: int) -> Clause:
    """X was expected; it came true or it did not."""
    template, factor = scene.rng.choice(EXPECTATIONS)
    x = clauses.reported(scene, sign if factor > 0 else -sign)
    return _join(scene, "expectation", template, {"x": x}, factor * x.value)


def listing(scene: Scene, sign: int) -> Clause:
    """X and Y, both counted."""
    x, y = clauses.simple(scene, sign), clauses.simple(scene, sign)
    return _join(
        scene, "listing", scene.rng.choice(LISTS), {"x": x, "y": y}, 0.75 * (x.value + y.value)
    )


def mixed(scene: Scene, sign: int) -> Clause:
    """X and Y of opposite signs, both counted: an opinion near the middle."""
    first = sign if scene.rng.random() < 0.5 else -sign
    x, y = clauses.simple(scene, first), clauses.simple(scene, -first)
    return _join(
        scene, "mixed", scene.rng.choice(LISTS), {"x": x, "y": y}, 0.75 * (x.value + y.value)
    )


CONSTRUCTIONS: dict[str, Construction] = {
    "statement": clauses.statement,
    "negation": clauses.negation,
    "double": clauses.double_negation,
    "irony": clauses.irony,
    "unfulfilled": clauses.unfulfilled,
    "question": clauses.question,
    "event": clauses.event,
    "contrast": contrast,
    "change": change,
    "report": report,
    "comparison": comparison,
    "agreement": agreement,
    "expectation": expectation,
    "listing": listing,
    "mixed": mixed,
}

DATASET_MIX: dict[str, float] = {
    "statement": 38,
    "negation": 5,
    "double": 4,
    "irony": 3,
    "unfulfilled": 2,
    "question": 3,
    "event": 12,
    "contrast": 10,
    "change": 3,
    "report": 4,
    "comparison": 3,
    "agreement": 5,
    "expectation": 3,
    "listing": 30,
    "mixed": 2,
}
"""How often each construction opens a text of the dataset."""


def finish(sentences: list[str]) -> str:
    """The sentences with capitals and full stops."""
    pieces = [piece.strip() for sentence in sentences for piece in sentence.split(". ")]
    closed: list[str] = []
    for piece in pieces:
        head, sep, tail = piece.partition("? ")
        if sep:
            piece = f"{head}? {tail[0].upper()}{tail[1:]}"
        closed.append(f"{piece[0].upper()}{piece[1:]}" + ("" if piece[-1] in ".?!" else "."))
    return " ".join(closed)


@dataclass(frozen=True)
class Style:
    """Which constructions and words a text may use."""

    mix: Mapping[str, float]
    allowed: Callable[[str], bool]
    second_fraction: float = 0.4
    context_fraction: float = 0.4


def any_word(word: str) -> bool:
    """True: every word is allowed."""
    return bool(word)


DATASET_STYLE = Style(DATASET_MIX, any_word)


def draw_text(
    rng: random.Random, lexicon: Lexicon, style: Style, domain: Domain | None = None
) -> Text:
    """A random text of 8 to 35 words with its logit."""
    kinds = tuple(style.mix)
    weights = tuple(style.mix.values())
    while True:
        scene = Scene(rng, lexicon, domain or rng.choice(lexicon.domains), style.allowed)
        sign = rng.choice((-1, 1))
        kind = rng.choices(kinds, weights)[0]
        parts = [CONSTRUCTIONS[kind](scene, sign)]
        used = [kind]
        if rng.random() < style.second_fraction:
            second = rng.choices(kinds, weights)[0]
            other = sign if rng.random() < 0.85 else -sign
            extra = CONSTRUCTIONS[second](scene, other)
            parts.append(Clause(extra.text, 0.6 * extra.value, extra.marks))
            used.append(second)
        value = sum(part.value for part in parts)
        marks = tuple(mark for part in parts for mark in part.marks)
        sentences = [part.text for part in parts]
        if rng.random() < style.context_fraction:
            context = _join(scene, "context", rng.choice(CONTEXTS), {}, 0.0)
            sentences.insert(0, context.text)
            marks = context.marks + marks
        text = finish(sentences)
        if 8 <= len(text.split()) <= 35:
            logit = max(-MAX_LOGIT, min(MAX_LOGIT, LOGIT_SCALE * value))
            return Text(text, logit, marks, tuple(used))
