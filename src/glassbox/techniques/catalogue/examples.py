"""A first call of every built-in technique that shows something on the embedded model.

Each is what one would type after ``glassbox technique run NAME``. Runs nothing.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

COMMAND: Final = "glassbox technique run"

_FACT = "Question: Where does Koame Pal live?\nAnswer:"
_OTHER = "Question: Where does Pustu Mant live?\nAnswer:"
_PAIR = (f"clean={_FACT}", f"corrupted={_OTHER}", "answer= Athens", "against= Lisbon")
_MEALS = (
    "positive=The meal was superb.",
    "positive=A lovely evening.",
    "negative=The meal was awful.",
    "negative=A dreadful evening.",
)


@dataclass(frozen=True)
class Example:
    """A call of a technique."""

    arguments: tuple[str, ...]
    """As ``name=value``; a value after ``@`` is a file."""
    made_by: str = ""
    """Technique whose ``--json`` is that file; empty where it is anybody's, one text a line."""

    @property
    def file(self) -> str:
        """The file that an argument names; empty where none does."""
        return next((each.partition("=@")[2] for each in self.arguments if "=@" in each), "")


EXAMPLES: Final[Mapping[str, Example]] = {
    "activation_patching": Example(_PAIR),
    "affine_lens": Example((f"text={_FACT}", "fit_texts=@texts.txt")),
    "attention_patterns": Example((f"text={_FACT}",)),
    "attribution_patching": Example((*_PAIR, "site=heads")),
    "direct_logit_attribution": Example((f"prompt={_FACT}", "answer= Athens", "against= Lisbon")),
    "fit_affine_lens": Example(("texts=@texts.txt",)),
    "induction_scores": Example(()),
    "logit_lens": Example((f"text={_FACT}",)),
    "make_steering_vector": Example(_MEALS),
    "prefill_attack": Example((f"user_prompt={_FACT}", "prefill_text= Lisbon")),
    "probe_layers": Example(
        (
            *(f"texts={each.partition('=')[2]}" for each in _MEALS),
            "labels=1,1,0,0",
            "n_folds=2",
        )
    ),
    "residual_norms": Example((f"text={_FACT}",)),
    "steer": Example(
        ("prompt=The waiter", "vector=@vector.json", "coefficient=2"), "make_steering_vector"
    ),
    "steering_sweep": Example(
        ("prompt=The waiter", "vector=@vector.json", "target= was"), "make_steering_vector"
    ),
    "temperature_sweep": Example(("prompt=The waiter",)),
    "token_surprisal": Example((f"text={_FACT} Athens",)),
}
"""By the technique's name."""


def typed(name: str, arguments: tuple[str, ...]) -> str:
    """Return a call as one types it in a shell."""
    return " ".join([COMMAND, shlex.quote(name), *(f"--arg {_quoted(each)}" for each in arguments)])


def calls_of(name: str) -> tuple[str, ...]:
    """Return the lines that show a built-in technique: what makes its file first, if any."""
    example = EXAMPLES[name]
    line = typed(name, example.arguments)
    if not example.made_by:
        return (line,)
    first = typed(example.made_by, EXAMPLES[example.made_by].arguments)
    return f"{first} --json > {example.file}", line


def _quoted(argument: str) -> str:
    """Return ``name=value`` with its value quoted for a shell; bash and zsh know ``$'…'``."""
    name, _, value = argument.partition("=")
    if "\n" in value:
        inner = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        return f"{name}=$'{inner}'"
    is_bare = value == "…" or shlex.quote(value) == value
    return f"{name}={value}" if is_bare else f'{name}="{value}"'
