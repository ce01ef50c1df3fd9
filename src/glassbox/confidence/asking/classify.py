"""Texts to labels with a calibrated confidence, one or a million of them.

A ``Labeller`` is a ``Classifier`` manifest brought to life: model, adapter, prompt, calibrator and
threshold together. Streams are read and answered in batches, in order and in constant memory; a
line that cannot be used is answered with its error and the rest goes on.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast, get_args

import orjson

from glassbox.artifacts import Classifier
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.labels import LabelSet
from glassbox.engine.protocol import Engine
from glassbox.errors import (
    AdapterMismatch,
    CorruptArtifact,
    GlassboxError,
    InvalidData,
    InvalidValue,
    TextTooLong,
)
from glassbox.stats.calibrators.choice import calibrator_from_json
from glassbox.stats.calibrators.label_bias import LabelBias
from glassbox.stats.calibrators.parametric import Calibrator
from glassbox.types import OverlongPolicy

STREAM_ROWS = 256
"""Texts read ahead of the answers when streaming."""


DECIMALS = 6
"""Of probabilities in JSON: float32 scoring holds no more."""


@dataclass(frozen=True)
class Classification:
    """The answer to one text."""

    label: str
    """Most probable class."""
    confidence: float
    """Its calibrated probability, [0, 1]."""
    label_probs: dict[str, float]
    """Calibrated probability of every class; they sum to 1."""
    raw_confidence: float
    """Probability that the model itself gave to its most probable class, [0, 1]."""
    label_mass: float
    """Probability that the model says any label at all, [0, 1]; low means off task."""
    automate: bool | None
    """Whether the confidence reaches the threshold; None without a safe threshold."""
    truncated: bool = False
    """Whether the end of the text was cut to fit the model's context."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, probabilities to six decimals.

        ``truncated`` is there only where it is true.
        """
        return {
            "label": self.label,
            "confidence": round(self.confidence, DECIMALS),
            "label_probs": {name: round(p, DECIMALS) for name, p in self.label_probs.items()},
            "raw_confidence": round(self.raw_confidence, DECIMALS),
            "label_mass": round(self.label_mass, DECIMALS),
            "automate": self.automate,
            **({"truncated": True} if self.truncated else {}),
        }


class Labeller:
    """A classifier brought to life on a resident model.

    Args:
        model: The resident model asked for labels.
        calibrator: Applied to its label probabilities; None leaves them raw.
        label_bias: Class offsets taken off first.
        threshold: Confidence from which an answer may be automated; None for none.
        digest: Of the manifest that describes it all (hex); empty for one put together by hand.
    """

    def __init__(
        self,
        model: LabelModel,
        *,
        calibrator: Calibrator | None = None,
        label_bias: LabelBias | None = None,
        threshold: float | None = None,
        digest: str = "",
    ) -> None:
        self.model = model
        self.calibrator = calibrator
        self.label_bias = label_bias
        self.threshold = threshold
        self.digest = digest

    def classify(self, texts: Iterable[str]) -> list[Classification | None]:
        """Return the answer to each text; None where the policy is to skip it as too long.

        Args:
            texts: A list, an array or a column of a table.

        Raises:
            InvalidValue: A single text.
            InvalidData: Something in it is no text, such as a missing value.
            TextTooLong: A text does not fit and the policy is ``error``.
            NonFiniteOutput: The model answered NaN or infinity.
        """
        texts = _checked_texts(texts)
        if not texts:
            return []
        try:
            answer = self.model.label_probs(texts)
        except TextTooLong as error:
            # Who asks a finished classifier chooses no policy: the run has.
            raise self._refused(error.n_tokens, error.which) from None
        raw, mass = answer.probs, answer.mass
        probs = raw if self.label_bias is None else self.label_bias.apply(answer.class_logprobs)
        if self.calibrator is not None:
            probs = self.calibrator.apply(probs)
        cut = frozenset(answer.truncated)
        results: list[Classification | None] = [None] * len(texts)
        for row, place in enumerate(answer.kept):
            confidence = float(probs[row].max())
            results[place] = Classification(
                label=answer.classes[int(probs[row].argmax())],
                confidence=confidence,
                label_probs=dict(zip(answer.classes, map(float, probs[row]), strict=True)),
                raw_confidence=float(raw[row].max()),
                label_mass=float(min(mass[row], 1.0)),
                automate=None if self.threshold is None else confidence >= self.threshold,
                truncated=int(place) in cut,
            )
        return results

    def too_long(self, text: str) -> TextTooLong:
        """Return the error of a text that was left out because its prompt does not fit."""
        return self._refused(self.model.prompts.n_tokens(text), "prompt of the text")

    def _refused(self, n_tokens: int, which: str) -> TextTooLong:
        prompts = self.model.prompts
        remedy = (
            f"Shorten it. The classifier's run was evaluated with {prompts.overlong!r} as its "
            "policy for long texts; one evaluated with 'truncate' reads their beginning."
        )
        return TextTooLong(n_tokens, prompts.limit, which=which, remedy=remedy)


def _checked_texts(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        raise InvalidValue(
            "texts", texts[:60], "a list of texts", remedy="Put a single one into square brackets."
        )
    found = list(texts)
    for row, each in enumerate(found):
        if not isinstance(each, str):
            raise InvalidData(f"texts must be texts; row {row} (0-based) is {each!r}")
    return found


def bring_to_life(manifest: Classifier, folder: Path, engine: Engine) -> Labeller:
    """Return the classifier that a manifest describes, on a resident model.

    Args:
        manifest: What ``Classifier.load(folder)`` returned.
        folder: Where the manifest stands; the adapter's path is relative to it.
        engine: The resident base model.

    Raises:
        AdapterMismatch: The resident model or the adapter is not the one that was calibrated.
        CorruptArtifact: The manifest is damaged, or the adapter is missing.
    """
    if engine.info.digest != manifest.base.digest:
        raise AdapterMismatch(
            f"This classifier was made on {manifest.base.path!r} (digest "
            f"{manifest.base.digest[:12]}); the resident model {engine.info.name!r} has digest "
            f"{engine.info.digest[:12]}. Its calibration would not hold: load the right model, or "
            "run 'glassbox evaluate' on this one."
        )
    adapter = None
    if manifest.adapter is not None:
        place = folder / manifest.adapter.path
        if not place.is_dir():
            # The run is there, and a part of it is not: it is damaged.
            raise CorruptArtifact(folder, f"its adapter {manifest.adapter.path!r} is missing")
        adapter = engine.load_adapter(place)
        if adapter != manifest.adapter.digest:
            raise AdapterMismatch(
                f"The adapter in {place} has digest {adapter[:12]}, not "
                f"{manifest.adapter.digest[:12]} with which the confidence was calibrated. Restore "
                "it, or run 'glassbox evaluate' again."
            )
    labels = LabelSet.from_json(manifest.labels, source=str(folder))
    calibrator = manifest.calibrator
    return Labeller(
        LabelModel(engine, labels, adapter=adapter, overlong=_policy(manifest)),
        calibrator=None
        if calibrator is None
        else calibrator_from_json(orjson.dumps(dict(calibrator)).decode(), source=str(folder)),
        label_bias=None if manifest.label_bias is None else LabelBias(manifest.label_bias),
        threshold=(manifest.threshold or {}).get("value"),
        digest=manifest.digest,
    )


def uncalibrated(manifest: Classifier, engine: Engine) -> Labeller:
    """Return another model asked with a classifier's labels; its confidence is raw."""
    labels = LabelSet.from_json(manifest.labels)
    return Labeller(LabelModel(engine, labels, overlong=_policy(manifest)))


def _policy(manifest: Classifier) -> OverlongPolicy:
    if manifest.overlong not in get_args(OverlongPolicy):
        raise CorruptArtifact(
            "classifier manifest", f"the policy for long texts is {manifest.overlong!r}"
        )
    return cast(OverlongPolicy, manifest.overlong)


@dataclass(frozen=True)
class LabelledLine:
    """One line of a stream with its answer or its error."""

    line: int
    """1-based number in the input."""
    text: str | None
    """The text, if the line could be read."""
    answer: Classification | None
    """The answer, if there is one."""
    error: GlassboxError | None
    """Why there is none."""

    def to_json(self) -> dict[str, Any]:
        """Return one JSON Lines record."""
        record: dict[str, Any] = {"line": self.line}
        if self.text is not None:
            record["text"] = self.text
        if self.answer is not None:
            record.update(self.answer.to_json())
        if self.error is not None:
            record["error"] = {"code": self.error.code, "message": str(self.error)}
        return record


def classify_stream(
    labeller: Labeller,
    lines: Iterable[tuple[int, str | GlassboxError]],
    *,
    batch_rows: int = STREAM_ROWS,
) -> Iterator[LabelledLine]:
    """Yield an answer for every line, in order, holding one batch at a time.

    Args:
        labeller: The classifier.
        lines: Line number with the text, or with the error of a line that could not be read.
        batch_rows: Lines read ahead.
    """
    source = iter(lines)
    while batch := list(islice(source, batch_rows)):
        texts = [(line, content) for line, content in batch if isinstance(content, str)]
        answers = _classify_batch(labeller, [text for _, text in texts])
        found = {line: result for (line, _), result in zip(texts, answers, strict=True)}
        for line, content in batch:
            if not isinstance(content, str):
                yield LabelledLine(line, None, None, content)
                continue
            result = found[line]
            if isinstance(result, Classification):
                yield LabelledLine(line, content, result, None)
            else:
                yield LabelledLine(line, content, None, result)


def _classify_batch(
    labeller: Labeller, texts: Sequence[str]
) -> Sequence[Classification | GlassboxError]:
    """Answer a batch; when a text of it does not fit, find it by halving and answer the rest."""
    try:
        answers = labeller.classify(texts)
    except TextTooLong as error:
        if len(texts) == 1:
            return [error]
        half = len(texts) // 2
        return [*_classify_batch(labeller, texts[:half]), *_classify_batch(labeller, texts[half:])]
    return [
        labeller.too_long(text) if each is None else each
        for text, each in zip(texts, answers, strict=True)
    ]
