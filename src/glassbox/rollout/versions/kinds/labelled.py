"""An LLM classifier as a version: one text in, the probability of every label out.

Takes anything that labels texts; knows no calibrator and no threshold.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, cast

from glassbox.engine.protocol import Engine
from glassbox.errors import CapacityError, InvalidData
from glassbox.rollout.drift.summaries import (
    AllSummaries,
    StateSummaries,
    Summariser,
    TextSummaries,
)
from glassbox.rollout.prediction import Features, Prediction
from glassbox.rollout.versions.input_schema import FeatureRule, InputSchema
from glassbox.types import TokenIds

TEXT: Final = "text"
"""The only feature that a classifier of texts takes."""

MOST_TEXT_CHARS: Final = 1_000_000
"""Longest text that is looked at; how many tokens the model takes is for the model to say."""

STATE_PATIENCE_S: Final = 0.1
"""Longest that an answer waits for the reading of its text's state, which is one in ten."""

TEXT_SCHEMA: Final = InputSchema((FeatureRule(TEXT, "text", most_chars=MOST_TEXT_CHARS),))
"""What it takes."""


class LabelAnswer(Protocol):
    """What is read of one answer."""

    @property
    def label(self) -> str:
        """Most probable class."""
        ...

    @property
    def confidence(self) -> float:
        """Its probability, [0, 1]."""
        ...

    @property
    def label_probs(self) -> Mapping[str, float]:
        """Probability of every class, in the order of the label set."""
        ...

    @property
    def raw_confidence(self) -> float:
        """Probability before calibration, [0, 1]."""
        ...

    @property
    def label_mass(self) -> float:
        """Probability that the model says any label at all, [0, 1]."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether the end of the text was cut to fit the model's context."""
        ...


class TextLabeller(Protocol):
    """Labels texts."""

    def classify(self, texts: Sequence[str]) -> Sequence[Any]:
        """Return a ``LabelAnswer`` for each text, None for one that is too long."""
        ...


class ResidentModel(Protocol):
    """What of a classifier's model is needed to summarise texts."""

    @property
    def engine(self) -> Engine:
        """Resident model."""
        ...

    @property
    def adapter(self) -> str | None:
        """Name of its adapter; None is the base model."""
        ...

    def prompt(self, text: str) -> TokenIds:
        """Return the token ids that the model reads for one text."""
        ...


class ResidentLabeller(TextLabeller, Protocol):
    """Labels texts with a resident model."""

    @property
    def model(self) -> ResidentModel:
        """The model."""
        ...


class LabelledPredictor:
    """A classifier of texts as a version.

    Args:
        labeller: Labels texts.
        summariser: Gives each text's summaries; None gives those of the answer alone.
        close: Called when the version is let go.
    """

    def __init__(
        self,
        labeller: TextLabeller,
        *,
        summariser: Summariser | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        self._labeller = labeller
        self._summariser = summariser
        self._close = close

    @property
    def labeller(self) -> TextLabeller:
        """What labels the texts."""
        return self._labeller

    def predict(self, rows: Sequence[Features]) -> list[Prediction]:
        """Return one answer to each row; ``prediction`` is the probability of the first label.

        Raises:
            InvalidValue: A row without text, or with one that is none.
            UnknownName: A row with another feature.
            TextTooLong: A text does not fit and the classifier refuses such.
            InvalidData: A text does not fit and the classifier skips such.
        """
        texts = [_text(row) for row in rows]
        answers = cast("Sequence[LabelAnswer | None]", self._labeller.classify(texts))
        return [_prediction(*each) for each in zip(answers, self._summaries(texts), strict=True)]

    def close(self) -> None:
        """Free what it holds."""
        if self._close is not None:
            self._close()

    def _summaries(self, texts: Sequence[str]) -> list[dict[str, float]]:
        nothing: list[dict[str, float]] = [{} for _ in texts]
        if self._summariser is None:
            return nothing
        try:
            return self._summariser.summaries(texts)
        except CapacityError:
            # The machine is busy: an answer without its numbers is better than none.
            return nothing


def labelled(
    labeller: ResidentLabeller, *, close: Callable[[], None] | None = None
) -> LabelledPredictor:
    """Return a classifier on a resident model as a version, with summaries of text and state.

    Args:
        labeller: Labels texts.
        close: Called when the version is let go.
    """
    model = labeller.model
    summariser = AllSummaries(
        TextSummaries(model.engine.codec, model.engine.info.d_vocab),
        StateSummaries(
            model.engine, model.prompt, adapter=model.adapter, patience_s=STATE_PATIENCE_S
        ),
    )
    return LabelledPredictor(labeller, summariser=summariser, close=close)


def _text(row: Features) -> str:
    text = row.get(TEXT)
    # The whole schema is gone through only where something is wrong.
    if len(row) != 1 or not isinstance(text, str) or len(text) > MOST_TEXT_CHARS:
        TEXT_SCHEMA.check(row)
    return cast(str, text)


def _prediction(answer: LabelAnswer | None, further: Mapping[str, float]) -> Prediction:
    if answer is None:
        raise InvalidData("the text does not fit the model's context and was skipped")
    return Prediction(
        prediction=next(iter(answer.label_probs.values())),
        confidence=answer.confidence,
        label=answer.label,
        label_probs=dict(answer.label_probs),
        summaries={
            **further,
            "raw_confidence": answer.raw_confidence,
            "label_mass": answer.label_mass,
        },
        truncated=answer.truncated,
    )
