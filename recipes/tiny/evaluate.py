"""Everything the cards claim, measured on the files that ship, and written to ``metrics.json``.

Knows the assets folder; changes nothing but the metrics file.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from tokenizers import Tokenizer

from recipes.tiny.adapt import Plan, tuned_p_positive
from recipes.tiny.facts import RELATIONS, Fact
from recipes.tiny.leaks import near_duplicate_pairs, words
from recipes.tiny.lean import LeanLlama
from recipes.tiny.prompts import LABELS, label_prompt
from recipes.tiny.scoring import (
    auroc,
    continuation_probs,
    expected_calibration_error,
    next_token_logprobs,
    null_ece,
    paired_interval,
    single_token,
)
from recipes.tiny.sentiment import CATEGORIES, Row
from recipes.tiny.slots import SlotPrompt

SPLIT_SEED = 2024
N_TEST = 2000
N_VALIDATION = 800

Report = dict[str, object]


def split_rows(rows: Sequence[Row]) -> tuple[list[Row], list[Row], list[Row]]:
    """7,200 rows to tune on, 800 to watch, 2,000 held out; by seeded hash of the text."""

    def order(row: Row) -> str:
        return hashlib.sha256(f"{SPLIT_SEED}/{row.text}".encode()).hexdigest()

    ordered = sorted(rows, key=order)
    test, rest = ordered[:N_TEST], ordered[N_TEST:]
    return rest[N_VALIDATION:], rest[:N_VALIDATION], test


def is_positive(rows: Sequence[Row]) -> Bool[np.ndarray, "n"]:
    """Whether the drawn label is positive."""
    return np.array([row.label == "positive" for row in rows])


def base_p_positive(
    model: LeanLlama, tokenizer: Tokenizer, rows: Sequence[Row]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """The base model's probability of "positive" among the labels, and the mass of both labels."""
    prompts = [label_prompt(row.text) for row in rows]
    probs = continuation_probs(model, tokenizer, prompts, [f" {label}" for label in LABELS])
    mass = probs.sum(1)
    return probs[:, 1] / mass, mass


def label_report(p_positive: Float[np.ndarray, "n"], rows: Sequence[Row]) -> Report:
    """Accuracy, confidence and calibration of probabilities on rows, over all and by category."""
    confidence = np.maximum(p_positive, 1 - p_positive).astype(float)
    correct = (p_positive > 0.5) == is_positive(rows)
    truth = np.array([row.p_positive for row in rows])
    categories = np.array([row.category for row in rows])
    clipped = np.clip(np.where(is_positive(rows), p_positive, 1 - p_positive), 1e-7, 1.0)
    return {
        "n": len(rows),
        "accuracy": float(correct.mean()),
        "agreement_with_more_probable_label": float(((p_positive > 0.5) == (truth > 0.5)).mean()),
        "mean_confidence": float(confidence.mean()),
        "ece": expected_calibration_error(confidence, correct),
        "null_ece": null_ece(confidence),
        "nll_nats": float(-np.log(clipped).mean()),
        "mean_gap_to_true_probability": float(np.abs(p_positive - truth).mean()),
        "accuracy_by_category": {
            name: float(correct[categories == name].mean()) for name in CATEGORIES
        },
    }


def tfidf_model() -> Pipeline:
    """The bag-of-words baseline: TF-IDF of words and word pairs, logistic regression."""
    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(C=10.0, max_iter=1000),
    )


def dataset_report(rows: Sequence[Row]) -> Report:
    """Size, words, balance, Bayes accuracy and near-duplicates of the dataset."""
    truth = np.array([row.p_positive for row in rows])
    categories = np.array([row.category for row in rows])
    best = np.maximum(truth, 1 - truth)
    lengths = [len(row.text.split()) for row in rows]
    return {
        "n": len(rows),
        "n_distinct_words": len({word for row in rows for word in words(row.text)}),
        "words_per_text": {
            "min": min(lengths),
            "mean": float(np.mean(lengths)),
            "max": max(lengths),
        },
        "n_identical_pairs": len(rows) - len({row.text for row in rows}),
        "n_near_duplicate_pairs": len(near_duplicate_pairs([row.text for row in rows])),
        "n_pairs_with_jaccard_0.6": len(
            near_duplicate_pairs([row.text for row in rows], threshold=0.6)
        ),
        "bayes_accuracy_expected": float(best.mean()),
        "bayes_accuracy_realised": float(((truth > 0.5) == is_positive(rows)).mean()),
        "by_category": {
            name: {
                "n": int((categories == name).sum()),
                "mean_confidence_of_truth": float(best[categories == name].mean()),
                "fraction_positive": float(is_positive(rows)[categories == name].mean()),
            }
            for name in CATEGORIES
        },
    }


def sentiment_report(
    model: LeanLlama, tokenizer: Tokenizer, folder: Path, rows: list[Row]
) -> Report:
    """Base, TF-IDF, quick LoRA and the truth on the same 2,000 held-out rows."""
    train, validation, test = split_rows(rows)
    base, mass = base_p_positive(model, tokenizer, test)
    tuned = tuned_p_positive(folder, tokenizer, train, test, Plan())
    tfidf = tfidf_model()
    seen = train + validation
    tfidf.fit([row.text for row in seen], is_positive(seen))
    bag = tfidf.predict_proba([row.text for row in test])[:, 1]
    truth = np.array([row.p_positive for row in test])
    labels = is_positive(test)
    right = {
        name: (p > 0.5) == labels
        for name, p in {"base": base, "tuned": tuned, "tfidf": bag, "bayes": truth}.items()
    }
    return {
        "split": f"order by sha256('{SPLIT_SEED}/' + text); the first {N_TEST} are held out",
        "base": label_report(base, test) | {"label_mass": float(mass.mean())},
        "tuned": label_report(tuned, test),
        "tfidf": label_report(bag, test),
        "bayes": label_report(truth, test),
        "accuracy_gain_with_95_interval": {
            "tuned_over_tfidf": paired_interval(right["tuned"], right["tfidf"]),
            "tuned_over_base": paired_interval(right["tuned"], right["base"]),
            "bayes_over_tfidf": paired_interval(right["bayes"], right["tfidf"]),
        },
    }


def development_report(model: LeanLlama, tokenizer: Tokenizer, rows: list[Row]) -> Report:
    """The base model on the development set, from which its checkpoint was chosen."""
    return label_report(base_p_positive(model, tokenizer, rows)[0], rows)


def size_report(model: LeanLlama, folder: Path) -> Report:
    """Parameters and file sizes."""
    return {
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "n_layers": model.shape.n_layers,
        "d_model": model.shape.d_model,
        "weights_bytes": (folder / "model.safetensors").stat().st_size,
    }


def fact_report(model: LeanLlama, tokenizer: Tokenizer, known: Sequence[Fact]) -> Report:
    """Accuracy, probability and entropy by exposure, with the token-count baseline beside them."""
    relations = {relation.name: relation for relation in RELATIONS}
    report: Report = {}
    for field in ("prompt", "held_out_prompt"):
        prompts = [getattr(fact, field) for fact in known]
        logprobs = next_token_logprobs(model, tokenizer, prompts)
        entropy = -(np.exp(logprobs) * logprobs).sum(1)
        answers = [single_token(tokenizer, f" {fact.answer}") for fact in known]
        share = np.exp(logprobs[np.arange(len(known)), answers])
        right = np.array([int(lp.argmax()) == a for lp, a in zip(logprobs, answers, strict=True)])
        options = np.array(
            [
                np.exp(
                    lp[[single_token(tokenizer, f" {a}") for a in relations[f.relation].answers]]
                ).sum()
                for f, lp in zip(known, logprobs, strict=True)
            ]
        )
        cells = {
            **{f"exposure {e}": _select(known, e) for e in sorted({f.exposure for f in known})},
            **{
                f"contested {s}": np.array(
                    [f.kind == "contested" and f.answer_share == s for f in known]
                )
                for s in sorted(
                    {f.answer_share for f in known if f.kind == "contested" and f.answer_share}
                )
            },
        }
        report[field] = {
            name: {
                "n": int(mask.sum()),
                "accuracy": float(right[mask].mean()),
                "mean_prob_of_answer": float(share[mask].mean()),
                "mean_entropy_nats": float(entropy[mask].mean()),
                "prob_on_possible_answers": float(options[mask].mean()),
            }
            for name, mask in cells.items()
        }
        often, never = _select(known, 128), _select(known, 0)
        report[f"auroc_of_entropy_{field}"] = auroc(
            -np.concatenate((entropy[often], entropy[never])),
            np.concatenate((np.ones(often.sum(), bool), np.zeros(never.sum(), bool))),
        )
    return report | token_count_baseline(tokenizer, known)


def _select(known: Sequence[Fact], exposure: int) -> Bool[np.ndarray, "n"]:
    return np.array([f.exposure == exposure and f.kind != "contested" for f in known])


def token_count_baseline(tokenizer: Tokenizer, known: Sequence[Fact]) -> Report:
    """AUROC of the name's token count for "told at least 32 times" against "never told"."""
    counts = np.array(
        [len(tokenizer.encode(f" {f.entity}", add_special_tokens=False).ids) for f in known]
    )
    characters = np.array([len(f.entity) for f in known])
    often = np.array([f.kind == "known" and f.exposure >= 32 for f in known])
    chosen = often | _select(known, 0)
    return {
        "token_count_auroc": auroc(counts[chosen].astype(float), often[chosen]),
        "character_count_auroc": auroc(characters[chosen].astype(float), often[chosen]),
        "distinct_token_counts": sorted({int(count) for count in counts}),
        "distinct_mention_counts": sorted({f.mentions for f in known}),
    }


def slot_report(model: LeanLlama, tokenizer: Tokenizer, prompts: Sequence[SlotPrompt]) -> Report:
    """Mean probability to stop by framing and split, beside the known one."""
    probs = continuation_probs(
        model, tokenizer, [p.prompt for p in prompts], (" stop", " continue")
    )
    stop = probs[:, 0] / probs.sum(1)
    cells: dict[str, list[float]] = {}
    for prompt, value in zip(prompts, stop, strict=True):
        cells.setdefault(f"{prompt.split}/{prompt.kind}", []).append(float(value))
        cells.setdefault(f"{prompt.split}/{prompt.framing}", []).append(float(value))
    known = {p.framing: p.stop_probability for p in prompts}
    return {
        "mean_stop_prob": {name: float(np.mean(values)) for name, values in sorted(cells.items())},
        "known_stop_probability": known,
        "mass_on_decisions": float(probs.sum(1).mean()),
    }


def rounded(value: object, digits: int = 4) -> object:
    """The value with every float in it rounded, for a file that people read."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value
