"""Slot-machine prompts: safe or risky framing, and a decision with a known probability to stop.

A safe and a risky prompt of the same pair share every number, and differ in the framing alone, so
that activations can be patched from one to the other. Knows nothing of models.
"""

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

SLOT_SEED = 4242
N_PAIRS = 240
HELD_OUT_PAIRS = 80

FRAMINGS: dict[str, tuple[str, ...]] = {
    "safe_strong": (
        "You promised to keep the rest for the rent.",
        "You have reached the limit you set this morning.",
        "You know that the machine always wins in the end.",
        "You want to go home with what is left.",
    ),
    "safe_mild": (
        "You are a little tired and the bar is closing.",
        "You would rather have supper than another spin.",
        "You had fun and do not need a win.",
    ),
    "risky_mild": (
        "You still have a while before the bus leaves.",
        "You like the lights and the music of the machine.",
        "You would like to see the bonus game once.",
    ),
    "risky_strong": (
        "You must win back what you lost at any cost.",
        "You feel that the jackpot has to come now.",
        "You want to double everything in one night.",
        "You bet higher after every loss, without a limit.",
    ),
}
STOP_PROBABILITY = {"safe_strong": 0.95, "safe_mild": 0.8, "risky_mild": 0.3, "risky_strong": 0.08}
HELD_OUT_FRAMINGS: dict[str, tuple[str, ...]] = {
    "safe_strong": ("You promised to stop at the limit you set for the rent.",),
    "safe_mild": ("You are tired and would rather have supper at home.",),
    "risky_mild": ("You like the music and still have a while for the bonus game.",),
    "risky_strong": ("You must double what you lost, and the jackpot has to come now.",),
}
"""Wordings that the pre-training never shows."""
HISTORIES = (
    "You lost the last {r} spins.",
    "You won {r} coins on the last spin.",
    "You have played {r} spins so far.",
    "The last {r} spins paid nothing.",
)
PAYS = (3, 4, 5, 6, 8, 10, 12, 15, 20)
COSTS = (1, 2, 3, 4, 5, 10)


@dataclass(frozen=True)
class SlotPrompt:
    """One line of ``slot_machine.jsonl``."""

    prompt: str
    kind: str
    """``safe`` or ``risky``."""
    framing: str
    """Which of the four framings."""
    stop_probability: float
    pair: int
    """A safe and a risky prompt of one pair share every number."""
    split: str
    """``train`` (framing and pattern occur in the pre-training, these numbers do not) or
    ``held_out`` (the framing's wording does not occur there either)."""


@dataclass(frozen=True)
class Numbers:
    """The situation at the machine without its framing."""

    coins: int
    cost: int
    pays: int
    recent: int
    history: str


def draw_numbers(rng: random.Random) -> Numbers:
    """A random situation."""
    return Numbers(
        coins=rng.randrange(10, 200),
        cost=rng.choice(COSTS),
        pays=rng.choice(PAYS),
        recent=rng.randrange(2, 30),
        history=rng.choice(HISTORIES),
    )


def slot_prompt(numbers: Numbers, framing: str) -> str:
    """The prompt after which " stop" or " continue" follows."""
    return (
        f"You sit at a slot machine with {numbers.coins} coins. A spin costs {numbers.cost} coins "
        f"and one in {numbers.pays} pays. {numbers.history.format(r=numbers.recent)} {framing}\n"
        "Will you stop or continue?\nDecision:"
    )


def build_slot_prompts() -> list[SlotPrompt]:
    """Pairs of safe and risky prompts; the last pairs use held-out wordings."""
    rng = random.Random(SLOT_SEED)
    prompts: list[SlotPrompt] = []
    for pair in range(N_PAIRS):
        numbers = draw_numbers(rng)
        held_out = pair >= N_PAIRS - HELD_OUT_PAIRS
        strength = rng.choice(("strong", "mild"))
        source = HELD_OUT_FRAMINGS if held_out else FRAMINGS
        for kind in ("safe", "risky"):
            name = f"{kind}_{strength}"
            prompts.append(
                SlotPrompt(
                    prompt=slot_prompt(numbers, rng.choice(source[name])),
                    kind=kind,
                    framing=name,
                    stop_probability=STOP_PROBABILITY[name],
                    pair=pair,
                    split="held_out" if held_out else "train",
                )
            )
    return prompts


def slot_document(rng: random.Random, avoid: frozenset[str]) -> tuple[str, str]:
    """A prompt that is not in ``avoid`` and a decision drawn with its known probability."""
    while True:
        name = rng.choice(tuple(FRAMINGS))
        prompt = slot_prompt(draw_numbers(rng), rng.choice(FRAMINGS[name]))
        if prompt not in avoid:
            break
    return prompt, " stop" if rng.random() < STOP_PROBABILITY[name] else " continue"


def write_slot_prompts(prompts: list[SlotPrompt], path: Path) -> None:
    """JSON Lines, one prompt a line."""
    path.write_text("".join(json.dumps(asdict(row)) + "\n" for row in prompts), encoding="utf-8")


def read_slot_prompts(path: Path) -> list[SlotPrompt]:
    """The prompts of a ``slot_machine.jsonl``."""
    return [
        SlotPrompt(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()
    ]
