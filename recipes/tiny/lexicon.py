"""The word lists of the embedded world, read from ``lexicon.toml``.

Knows which words exist, their sign and strength, and which nouns are plural. Knows nothing of
sentences or probabilities.
"""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

LEXICON_PATH = Path(__file__).with_name("lexicon.toml")
LEVEL_VALUE = {3: 1.0, 2: 0.65, 1: 0.35}
"""Valence of an opinion word by its level, before any modifier."""


@dataclass(frozen=True)
class Noun:
    """A noun without its article and whether it takes a plural verb."""

    text: str
    plural: bool


@dataclass(frozen=True)
class Opinion:
    """An opinion adjective with its signed valence in [-1, 1]."""

    text: str
    value: float


@dataclass(frozen=True)
class Domain:
    """What people talk about in one area of life, and how."""

    name: str
    things: tuple[str, ...]
    aspects: tuple[Noun, ...]
    positive: tuple[Opinion, ...]
    negative: tuple[Opinion, ...]
    good_events: tuple[str, ...]
    bad_events: tuple[str, ...]
    verbs: tuple[str, ...]


@dataclass(frozen=True)
class Topic:
    """A neutral topic: who did what, where, and what followed."""

    actors: tuple[Noun, ...]
    acts: tuple[str, ...]
    details: tuple[str, ...]
    ups: tuple[str, ...]
    downs: tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    """Every word list of the embedded world."""

    positive: tuple[Opinion, ...]
    negative: tuple[Opinion, ...]
    intensifiers: tuple[str, ...]
    downtoners: tuple[str, ...]
    first_names: tuple[str, ...]
    kin: tuple[str, ...]
    crowd: tuple[Noun, ...]
    places: tuple[str, ...]
    times: tuple[str, ...]
    domains: tuple[Domain, ...]
    sport: Topic
    work: Topic
    objects: tuple[str, ...]
    errands: tuple[str, ...]
    jobs: tuple[str, ...]


def items(text: str) -> tuple[str, ...]:
    """The entries of a list whose entries are separated by bars."""
    return tuple(item.strip() for item in text.split("|"))


def _nouns(text: str) -> tuple[Noun, ...]:
    return tuple(Noun(item.rstrip("*"), item.endswith("*")) for item in items(text))


def _opinions(table: dict[str, str], sign: int) -> tuple[Opinion, ...]:
    return tuple(
        Opinion(word, sign * LEVEL_VALUE[int(level)])
        for level, words in table.items()
        for word in items(words)
    )


def _topic(table: dict[str, str], actors: str) -> Topic:
    return Topic(
        actors=_nouns(table[actors]),
        acts=items(table["act"]),
        details=items(table["detail"]),
        ups=items(table["up"]),
        downs=items(table["down"]),
    )


@lru_cache(maxsize=1)
def load_lexicon() -> Lexicon:
    """The lexicon of ``lexicon.toml``; read once per process."""
    raw = tomllib.loads(LEXICON_PATH.read_text(encoding="utf-8"))
    domains = tuple(
        Domain(
            name=name,
            things=items(table["thing"]),
            aspects=_nouns(table["aspect"]),
            positive=_opinions({"2": table["positive"]}, +1),
            negative=_opinions({"2": table["negative"]}, -1),
            good_events=items(table["good"]),
            bad_events=items(table["bad"]),
            verbs=items(raw["verbs"][name]),
        )
        for name, table in raw["domain"].items()
    )
    people = raw["people"]
    return Lexicon(
        positive=_opinions(raw["opinion"]["positive"], +1),
        negative=_opinions(raw["opinion"]["negative"], -1),
        intensifiers=items(raw["intensity"]["up"]),
        downtoners=items(raw["intensity"]["down"]),
        first_names=items(people["first"]),
        kin=items(people["kin"]),
        crowd=_nouns(people["crowd"]),
        places=items(people["place"]),
        times=items(people["time"]),
        domains=domains,
        sport=_topic(raw["sport"], "team"),
        work=_topic(raw["work"], "who"),
        objects=items(raw["errand"]["object"]),
        errands=items(raw["errand"]["act"]),
        jobs=items(raw["errand"]["job"]),
    )
