"""Temperature sweep: what the model writes, and how varied, from cold to hot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.techniques.measures.views import Lines, Passages, View
from glassbox.techniques.technique import technique


@dataclass(frozen=True, eq=False)
class TemperatureSweep:
    """Continuations of one prompt at several temperatures."""

    prompt: str
    """The prompt."""
    temperatures: Float[np.ndarray, " n"]
    """0 is greedy."""
    texts: tuple[tuple[str, ...], ...]
    """Continuations by temperature and draw."""
    distinct: Float[np.ndarray, " n"]
    """Share of draws at each temperature that differ from one another, in (0, 1]."""

    def view(self) -> View:
        """Return the share of distinct draws, and the first draw at each temperature."""
        names = tuple(f"temperature {each:g}" for each in self.temperatures)
        first = Passages("First draw of each", names, tuple(t[0] for t in self.texts), self.prompt)
        order = np.argsort(self.temperatures)
        line = Lines("Distinct draws", self.temperatures[order], {"share": self.distinct[order]},
                     "Temperature", "Fraction", (0.0, 1.0))  # fmt: skip
        return View("Temperature sweep", (line, first))


@technique(title="Temperature sweep", paper="Ackley et al. 1985, A learning algorithm")
def temperature_sweep(
    model: Any, tokenizer: Any, prompt: str, temperatures: Sequence[float] = (0.0, 0.5, 1.0, 1.5),
    n_samples: int = 4, max_new_tokens: int = 30, seed: int = 0,
) -> TemperatureSweep:  # fmt: skip
    """What follows a prompt at each temperature, several draws each, the whole vocabulary open.

    Args:
        temperatures: 0 or more each; 0 draws nothing and writes the most probable.
        n_samples: Draws at each temperature.
        max_new_tokens: Most tokens written.
        seed: Of the draws, the same at each temperature.
    """
    from glassbox.techniques.measures.encoding import encode
    from glassbox.techniques.measures.generation import continuation, write_on

    batch, texts = encode(model, tokenizer, [prompt]), []
    sizes = {"n_rows": n_samples, "max_new_tokens": max_new_tokens, "seed": seed}
    for each in temperatures:
        rows = write_on(model, tokenizer, batch, temperature=each, **sizes)
        texts.append(tuple(continuation(tokenizer, batch.ids[0].tolist(), row) for row in rows))
    distinct = np.array([len(set(draws)) / n_samples for draws in texts])
    return TemperatureSweep(prompt, np.array(temperatures, float), tuple(texts), distinct)
