"""The steps of the recipe in order, each reading what the ones before it wrote.

Knows the folders; every other module is told.
"""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from recipes.tiny import cards, corpus, evaluate, facts, pretrain, sentiment, slots, tokenizer
from recipes.tiny.leaks import NearDuplicateIndex, words
from recipes.tiny.lean import LeanLlama, load_model
from recipes.tiny.lexicon import load_lexicon
from recipes.tiny.prompts import LABELS, label_prompt
from recipes.tiny.scoring import continuation_probs, expected_calibration_error, null_ece
from recipes.tiny.sentiment import Row

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "src" / "glassbox" / "assets"
WORK = ROOT / "build" / "tiny"
DATASET_FOLDER = ASSETS / "dataset"
MODEL_FOLDER = ASSETS / "model"
FACTS_PATH = ASSETS / "facts.jsonl"
SLOTS_PATH = ASSETS / "slot_machine.jsonl"
STREAM_PATH = WORK / "stream.npz"
CORPUS_REPORT = WORK / "corpus.json"
CHECKPOINTS = WORK / "checkpoints"
METRICS_PATH = MODEL_FOLDER / "metrics.json"

DEVELOPMENT_SEED = 5150
N_DEVELOPMENT = 2000
N_VOCABULARY_TEXTS = 40_000
N_DOCUMENTS = 195_000
MIN_ACCURACY, MAX_ACCURACY = 0.70, 0.82
"""What the base model may reach on the development set: better than chance, worse than tuned."""
MIN_EXCESS_ECE = 0.06
"""How far its ECE must lie above the level of a calibrated model."""


def make_dataset() -> None:
    """Writes the 10,000 texts."""
    sentiment.write_dataset(sentiment.build_dataset(), DATASET_FOLDER)


def development_rows() -> list[Row]:
    """The development set: fresh texts, none near one of the dataset."""
    avoid = NearDuplicateIndex(row.text for row in sentiment.read_dataset(DATASET_FOLDER))
    return sentiment.draw_development(N_DEVELOPMENT, seed=DEVELOPMENT_SEED, avoid=avoid)


def make_tokenizer() -> None:
    """Trains and writes the tokenizer, then chooses the entities and writes facts and prompts."""
    texts = list(corpus.vocabulary_texts(load_lexicon(), N_VOCABULARY_TEXTS))
    trained = tokenizer.train_tokenizer(texts)
    tokenizer.save_tokenizer(trained, MODEL_FOLDER)
    taken = frozenset(word for text in texts for word in words(text))
    known = facts.build_facts(lambda text: tokenizer.count_tokens(trained, text), taken)
    facts.write_facts(known, FACTS_PATH)
    slots.write_slot_prompts(slots.build_slot_prompts(), SLOTS_PATH)


def make_corpus(n_documents: int = N_DOCUMENTS) -> None:
    """Draws and packs the corpus; writes the token stream and its report."""
    rows = sentiment.read_dataset(DATASET_FOLDER) + development_rows()
    prompts = frozenset(row.prompt for row in slots.read_slot_prompts(SLOTS_PATH))
    drawn = corpus.build_corpus(
        load_lexicon(),
        facts.read_facts(FACTS_PATH),
        prompts,
        NearDuplicateIndex(row.text for row in rows),
        n_documents,
    )
    trained = tokenizer.load_tokenizer(MODEL_FOLDER)
    stream = pretrain.pack(drawn.documents, trained)
    WORK.mkdir(parents=True, exist_ok=True)
    np.savez(STREAM_PATH, token_ids=stream.token_ids.astype(np.uint16), weights=stream.weights)
    tokens: Counter[str] = Counter()
    for document in drawn.documents:
        tokens[document.kind] += (
            tokenizer.count_tokens(trained, document.text + document.answer) + 2
        )
    report = {
        "documents": drawn.counts(),
        "tokens": dict(tokens),
        "n_tokens": len(stream.token_ids),
        "n_refused_as_near_duplicates": drawn.n_refused,
        "n_dataset_texts_inside_documents": count_inside(drawn.documents),
    }
    CORPUS_REPORT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def count_inside(documents: list[corpus.Document]) -> int:
    """Texts of the dataset that stand whole inside a longer line of the corpus.

    Such a line is no near-duplicate, so it is not refused; the number says how often it happens.
    """
    index = NearDuplicateIndex(row.text for row in sentiment.read_dataset(DATASET_FOLDER))
    inside: set[int] = set()
    for document in documents:
        if document.kind not in ("fact", "mention", "slot"):
            for line in document.text.split("\n"):
                inside |= index.wholly_inside(line)
    return len(inside)


class DevelopmentJudge:
    """Measures a model on the development set, on some facts and on some slot prompts."""

    def __init__(self, trained: Tokenizer, rows: list[Row]) -> None:
        self._tokenizer = trained
        self._rows = rows
        self._facts = facts.read_facts(FACTS_PATH)[::2]
        self._slots = [p for p in slots.read_slot_prompts(SLOTS_PATH) if p.split == "train"][:200]

    def __call__(self, model: LeanLlama) -> dict[str, object]:
        """Accuracy, confidence and calibration of the labels; facts by exposure; stop rates."""
        prompts = [label_prompt(row.text) for row in self._rows]
        probs = continuation_probs(model, self._tokenizer, prompts, [f" {x}" for x in LABELS])
        p_positive = probs[:, 1] / probs.sum(1)
        confidence = np.maximum(p_positive, 1 - p_positive)
        correct = (p_positive > 0.5) == np.array([row.label == "positive" for row in self._rows])
        neutral = np.array([row.category.startswith("neutral") for row in self._rows])
        return {
            "accuracy": round(float(correct.mean()), 4),
            "accuracy_opinion": round(float(correct[~neutral].mean()), 4),
            "accuracy_neutral": round(float(correct[neutral].mean()), 4),
            "confidence": round(float(confidence.mean()), 4),
            "label_mass": round(float(probs.sum(1).mean()), 4),
            "ece": round(expected_calibration_error(confidence, correct), 4),
            "null_ece": round(null_ece(confidence, n_draws=50), 4),
            "facts": self._facts_by_exposure(model),
            "stop": self._stop_rates(model),
        }

    def _facts_by_exposure(self, model: LeanLlama) -> dict[str, float]:
        right: dict[int, list[bool]] = {}
        relations = {relation.name: relation for relation in facts.RELATIONS}
        for name, relation in relations.items():
            chosen = [f for f in self._facts if f.relation == name and f.kind != "contested"]
            options = [f" {answer}" for answer in relation.answers]
            probs = continuation_probs(model, self._tokenizer, [f.prompt for f in chosen], options)
            for fact, best in zip(chosen, probs.argmax(1), strict=True):
                right.setdefault(fact.exposure, []).append(relation.answers[best] == fact.answer)
        return {str(e): round(float(np.mean(v)), 3) for e, v in sorted(right.items())}

    def _stop_rates(self, model: LeanLlama) -> dict[str, float]:
        prompts = [p.prompt for p in self._slots]
        probs = continuation_probs(model, self._tokenizer, prompts, (" stop", " continue"))
        stop = probs[:, 0] / probs.sum(1)
        kinds = np.array([p.kind for p in self._slots])
        return {k: round(float(stop[kinds == k].mean()), 3) for k in ("safe", "risky")}


def run_pretraining() -> Path:
    """The folder of the last checkpoint; the log beside it says how each one did."""
    trained = tokenizer.load_tokenizer(MODEL_FOLDER)
    with np.load(STREAM_PATH) as saved:
        stream = pretrain.Stream(saved["token_ids"].astype(np.int64), saved["weights"])
    judge = DevelopmentJudge(trained, development_rows()[:1000])
    return pretrain.pretrain(stream, CHECKPOINTS, judge)


def install_checkpoint(checkpoint: Path) -> None:
    """Copies a checkpoint's files into the package."""
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        shutil.copyfile(checkpoint / name, MODEL_FOLDER / name)


def choose_checkpoint(log: Path) -> Path:
    """The latest checkpoint that is decent, not yet at the ceiling, and over-confident.

    Judged on the development set alone. Where none qualifies, the last one.
    """
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    judged = [record for record in records if "accuracy" in record]
    eligible = [
        record
        for record in judged
        if MIN_ACCURACY <= record["accuracy"] <= MAX_ACCURACY
        and record["ece"] >= record["null_ece"] + MIN_EXCESS_ECE
    ]
    chosen = (eligible or judged)[-1]
    return log.parent / f"step-{chosen['step']:05d}"


def run_evaluation() -> dict[str, object]:
    """Everything the cards claim, measured on the files that ship; also written to metrics.json."""
    trained = tokenizer.load_tokenizer(MODEL_FOLDER)
    model = load_model(MODEL_FOLDER)
    rows = sentiment.read_dataset(DATASET_FOLDER)
    report: dict[str, object] = {
        "dataset": evaluate.dataset_report(rows),
        "sentiment": evaluate.sentiment_report(model, trained, MODEL_FOLDER, rows),
        "development": evaluate.development_report(model, trained, development_rows()),
        "facts": evaluate.fact_report(model, trained, facts.read_facts(FACTS_PATH)),
        "slot_machine": evaluate.slot_report(model, trained, slots.read_slot_prompts(SLOTS_PATH)),
        "model": evaluate.size_report(model, MODEL_FOLDER),
    }
    if CORPUS_REPORT.is_file():
        report["corpus"] = json.loads(CORPUS_REPORT.read_text(encoding="utf-8"))
    elif METRICS_PATH.is_file():
        report["corpus"] = json.loads(METRICS_PATH.read_text(encoding="utf-8"))["corpus"]
    plain = evaluate.rounded(report)
    METRICS_PATH.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    cards.write_cards(METRICS_PATH, MODEL_FOLDER, DATASET_FOLDER)
    return report
