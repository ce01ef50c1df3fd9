"""Neutral texts: sport (rather positive) and work (rather negative), with a known probability.

No opinion words at all: the topic leans by ``TOPIC_LOGIT`` to its side, and what followed ("a
contract was renewed") moves it a little. Knows nothing of the rest of the grammar.
"""

import random

from recipes.tiny.grammar import Text, finish
from recipes.tiny.lexicon import Lexicon, Topic

TOPIC_LOGIT = 1.3
FOLLOW_UP_LOGIT = 0.55
DENIED = -0.5
"""A denied follow-up turns round and weakens."""
FOLLOW_UPS = (
    ("later {e}", 1.0),
    ("then {e}", 1.0),
    ("{n} noted that {e}", 1.0),
    ("afterwards {e}", 1.0),
    ("it is not true that {e}", DENIED),
    ("it was a rumour that {e}", DENIED),
)
OPENINGS = (
    "{w}, {a} {x} {d}",
    "{a} {x} {d} in {p}",
    "{a} {x} {d} {w}",
    "{n} watched how {a} {x} {d}",
    "in {p}, {a} {x} {w}",
    "{a} {x} and {y} {d}",
)


def draw_neutral(rng: random.Random, lexicon: Lexicon, topic: Topic, sign: int) -> Text:
    """A random text about the topic, leaning to ``sign``; 8 to 35 words."""
    while True:
        actor = rng.choice(topic.actors)
        x, y = rng.sample(topic.acts, 2)
        slots = {
            "a": actor.text,
            "x": x,
            "y": y,
            "d": rng.choice(topic.details),
            "w": rng.choice(lexicon.times),
            "p": rng.choice(lexicon.places),
            "n": rng.choice(lexicon.first_names),
        }
        template = rng.choice(OPENINGS)
        logit = sign * TOPIC_LOGIT
        sentences = [template.format(**slots)]
        marks = [template, *(slots[name] for name in slots if f"{{{name}}}" in template)]
        for _ in range(rng.choices((0, 1, 2), (4, 5, 1))[0]):
            up = rng.random() < 0.5
            follow_up, factor = rng.choice(FOLLOW_UPS)
            happened = rng.choice(topic.ups if up else topic.downs)
            name = rng.choice(lexicon.first_names)
            sentences.append(follow_up.format(e=happened, n=name))
            logit += (1 if up else -1) * factor * FOLLOW_UP_LOGIT
            marks += [follow_up, happened, name if "{n}" in follow_up else ""]
        text = finish(sentences)
        if 8 <= len(text.split()) <= 35:
            return Text(text, logit, tuple(marks), ("neutral",))
