"""Label probabilities of texts: the five steps from a prompt to a distribution over classes.

1. Build the prompt of each text, the same way as in training.
2. Ask the engine for the log-probability of every verbaliser after it, in one forward pass.
3. Make overlapping verbalisers disjoint and add up (log-sum-exp) those of one class.
4. Normalise over the classes; the sum before normalising is the label mass, which is low when the
   model wanted to say something else.
5. Optionally take off each class's label bias, frozen on calibration rows.

Knows nothing of files, splits or calibration.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glassbox.confidence.asking.prompts import PromptBuilder
from glassbox.confidence.asking.verbalisers import class_logprobs, label_mass, label_probs
from glassbox.confidence.labels import LabelSet
from glassbox.engine.protocol import Engine
from glassbox.progress import Progress
from glassbox.types import OverlongPolicy, TokenIds


@dataclass(frozen=True)
class LabelProbs:
    """Distributions over the classes for some texts."""

    classes: tuple[str, ...]
    """Class names, in the order of the columns."""
    class_logprobs: Float[np.ndarray, "n n_classes"]
    """Natural log of each class's total probability among all continuations; float64."""
    entropy: Float[np.ndarray, " n"]
    """Entropy of the next token over the whole vocabulary, nats."""
    n_tokens: Int[np.ndarray, " n"]
    """Prompt length."""
    kept: Int[np.ndarray, " n"]
    """Index of the text each row belongs to; texts skipped as too long are absent."""
    truncated: tuple[int, ...]
    """Index of each text whose end was cut to fit the context."""
    n_skipped: int
    """Texts left out because they did not fit."""

    @property
    def probs(self) -> Float[np.ndarray, "n n_classes"]:
        """Normalised over the classes; rows sum to 1."""
        return label_probs(self.class_logprobs)

    @property
    def mass(self) -> Float[np.ndarray, " n"]:
        """Probability that any label follows at all, [0, 1]; low means off task."""
        return label_mass(self.class_logprobs)

    @property
    def predicted(self) -> Int[np.ndarray, " n"]:
        """Index of the most probable class."""
        return np.asarray(self.class_logprobs.argmax(axis=1))

    @property
    def confidence(self) -> Float[np.ndarray, " n"]:
        """Probability of the most probable class, [0, 1]."""
        return np.asarray(self.probs.max(axis=1))


class LabelModel:
    """A resident model asked for labels.

    Args:
        engine: The resident model.
        labels: Classes, verbalisers, instruction and template.
        adapter: Name of a loaded adapter; None is the base model.
        overlong: What happens to texts over the context.
    """

    def __init__(
        self,
        engine: Engine,
        labels: LabelSet,
        *,
        adapter: str | None = None,
        overlong: OverlongPolicy = "error",
    ) -> None:
        self.engine = engine
        self.labels = labels
        self.adapter = adapter
        self.prompts = PromptBuilder(labels, engine.codec, engine.info.context, overlong=overlong)
        self.verbalisers = self.prompts.verbalisers

    def prompt(self, text: str) -> TokenIds:
        """Return the token ids that the model reads for one text."""
        return self.prompts.build([text]).prompts[0]

    def label_probs(self, texts: Sequence[str], *, progress: Progress | None = None) -> LabelProbs:
        """Return the distribution over the classes of each text.

        Raises:
            TextTooLong: A text does not fit and the policy is ``error``.
            NonFiniteOutput: The model answered NaN or infinity.
        """
        built = self.prompts.build(texts)
        answer = self.engine.logprobs(
            built.prompts,
            self.verbalisers.continuations,
            adapter=self.adapter,
            progress=progress,
        )
        return LabelProbs(
            classes=self.labels.classes,
            class_logprobs=class_logprobs(answer.values, self.verbalisers),
            entropy=answer.entropy,
            n_tokens=np.array([len(ids) for ids in built.prompts], dtype=np.int64),
            kept=np.asarray(built.kept, dtype=np.int64),
            truncated=built.truncated,
            n_skipped=built.n_skipped,
        )
