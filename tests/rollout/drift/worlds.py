"""Windows and records whose drift is known, and real ones."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from glassbox.audit.records import InferenceRecord, LabelEvent, PrimaryEvent
from glassbox.rollout.drift.windows import Window, category_column, number_column


def window(
    seed: int,
    n: int = 2000,
    *,
    shift: float = 0.0,
    cities: tuple[float, ...] = (0.5, 0.3, 0.2),
    version: str = "default_model_v1",
) -> Window:
    """Rows with a calibrated probability, two numbers and a category, one number shifted."""
    generator = np.random.default_rng(seed)
    prob = generator.beta(2, 2, size=n)
    first = (generator.random(n) < prob).astype(np.float64)
    chose = (prob >= 0.5).astype(np.float64)
    names = [f"city {k}" for k in range(len(cities))]
    return Window(
        1.7e9 + 60.0 * np.arange(n),
        (
            number_column("prediction", list(prob), "answer"),
            number_column("age", list(generator.normal(40 + 10 * shift, 10, size=n))),
            number_column("income", list(generator.lognormal(size=n))),
            category_column("city", list(generator.choice(names, size=n, p=cities))),
        ),
        version,
        prob=prob,
        confidence=np.maximum(prob, 1 - prob),
        chose_first=chose,
        is_first=first,
        is_right=(first == chose).astype(np.float64),
    )


def record(
    number: int, *, age: float = 40.0, prob: float = 0.75, truth: str | None = None
) -> InferenceRecord:
    """One answer of a classifier of two classes, with one kept feature and some summaries."""
    label = "yes" if prob >= 0.5 else "no"
    request_id = f"request-{number}"
    return InferenceRecord(
        PrimaryEvent(
            request_id=request_id,
            time_s=1.7e9 + 60.0 * number,
            model="default",
            model_version="default_model_v1",
            feature_hash="v1:k1:00",
            latency_ms=1.0,
            status="success",
            prediction=prob,
            confidence=max(prob, 1 - prob),
            label=label,
            label_probs={"yes": prob, "no": 1 - prob},
            segments={"sex": "f" if number % 2 else "m"},
            features={"age": age, "member": number % 3 == 0},
            summaries={"n_tokens": 12.0 + number % 5, "state_0": prob},
        ),
        label=None if truth is None else LabelEvent(request_id, 1.8e9, truth, "tests"),
        sequence=number + 1,
    )


def records(seed: int, n: int, *, shift: float = 0.0, start: int = 0) -> list[InferenceRecord]:
    """Answers with truths to every other one, oldest first."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(start, start + n):
        prob = float(generator.beta(2, 2))
        truth = "yes" if generator.random() < prob else "no"
        age = float(generator.normal(40 + 10 * shift, 10))
        found.append(record(number, age=age, prob=prob, truth=truth if number % 2 else None))
    return found


def california(folder: Path, name: str, truths: str | None = None) -> Window:
    """California housing with a real classifier's answers; ``truths`` names the file of labels."""
    with (folder / f"california_housing_{name}.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    labels = [row.get("clf_target", "") for row in rows]
    if truths is not None:
        with (folder / f"california_housing_{truths}.csv").open() as lines:
            labels = [row["clf_target"] for row in csv.DictReader(lines)]
    prob = np.array([float(row["y_pred_proba"]) for row in rows])
    chose = np.array([float(row["y_pred"]) for row in rows])
    first = np.array([float(label) if label else np.nan for label in labels])
    moments = [datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC) for row in rows]
    houses = ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup")
    return Window(
        np.array([each.timestamp() for each in moments]),
        (
            number_column("prediction", list(prob), "answer"),
            *(
                number_column(each, [float(row[each]) for row in rows])
                for each in (*houses, "Latitude", "Longitude")
            ),
        ),
        "v1",
        prob=prob,
        confidence=np.where(chose == 1, prob, 1 - prob),
        chose_first=chose,
        is_first=first if np.isfinite(first).any() else None,
        is_right=np.where(np.isnan(first), np.nan, first == chose)
        if np.isfinite(first).any()
        else None,
    )


def option_logits(folder: Path, model: str, task: str, prompt: str | None = None) -> Window:
    """A real language model's answers to multiple-choice questions."""
    archive = np.load(folder / f"{model}.npz")
    name = next(
        each
        for each in archive.files
        if each.startswith(f"{task}__") and (prompt is None or each.endswith(f"__{prompt}"))
    )
    logits = archive[name].astype(np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = weights / weights.sum(axis=1, keepdims=True)
    confidence = probs.max(axis=1)
    return Window(
        np.arange(confidence.size, dtype=np.float64),
        (
            number_column("prediction", list(probs[:, 0]), "answer"),
            number_column("confidence", list(confidence), "answer"),
            category_column("label", ["ABCDEF"[each] for each in probs.argmax(axis=1)], "answer"),
        ),
        "v1",
        confidence=confidence,
    )
