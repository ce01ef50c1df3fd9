"""The model card and the dataset card, with every figure taken from ``metrics.json``.

Knows the structure of the metrics; measures nothing itself.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Metrics = Mapping[str, Any]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; floats with three decimals."""

    def cell(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(v) for v in line) + " |" for line in lines)


def _sentiment_table(metrics: Metrics) -> str:
    sentiment = metrics["sentiment"]
    names = {
        "base": "this model, untuned",
        "tuned": "after LoRA (rank 8, 7,200 texts, 3 epochs)",
        "tfidf": "TF-IDF (1, 2-grams) + logistic regression, 8,000 texts",
        "bayes": "the known truth",
    }
    keys = ("accuracy", "mean_confidence", "ece", "null_ece", "nll_nats")
    rows = [[text, *(sentiment[name][key] for key in keys)] for name, text in names.items()]
    return table(
        ["", "accuracy", "mean confidence", "ECE", "ECE if calibrated", "NLL (nats)"], rows
    )


def _gain(metrics: Metrics, name: str) -> str:
    mean, low, high = metrics["sentiment"]["accuracy_gain_with_95_interval"][name]
    return f"{mean:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"


def _fact_table(metrics: Metrics) -> str:
    seen, held_out = metrics["facts"]["prompt"], metrics["facts"]["held_out_prompt"]
    rows = [
        [
            name,
            cell["n"],
            cell["accuracy"],
            cell["mean_prob_of_answer"],
            cell["mean_entropy_nats"],
            held_out[name]["accuracy"],
        ]
        for name, cell in seen.items()
    ]
    header = ["told", "n", "accuracy", "P(answer)", "entropy (nats)", "accuracy, held-out wording"]
    return table(header, rows)


def _slot_table(metrics: Metrics) -> str:
    slot = metrics["slot_machine"]
    means, known = slot["mean_stop_prob"], slot["known_stop_probability"]
    rows = [
        [name, known[name], means[f"train/{name}"], means[f"held_out/{name}"]] for name in known
    ]
    return table(["framing", "known", "model", "model, held-out wording"], rows)


def _corpus_table(metrics: Metrics) -> str:
    corpus = metrics["corpus"]
    total = corpus["n_tokens"]
    rows = [
        [kind, corpus["documents"][kind], count, count / total]
        for kind, count in sorted(corpus["tokens"].items(), key=lambda item: -item[1])
    ]
    return table(["documents", "number", "tokens", "share of tokens"], rows)


def model_card(metrics: Metrics) -> str:
    """The text of ``assets/model/README.md``."""
    model, facts, base = metrics["model"], metrics["facts"], metrics["sentiment"]["base"]
    return f"""# The embedded model

A Llama-architecture language model with {model["n_parameters"]:,} parameters
({model["n_layers"]} layers, width {model["d_model"]}, 4 heads, byte-level BPE with 2,048 pieces,
tied embeddings, bfloat16, {model["weights_bytes"]:,} bytes). It exists so that every command and
test of Glassbox runs on a machine without weights or network, in a world whose truth is known.

**What it is not.** It knows no English beyond a seeded grammar of some two thousand words, no
facts about the real world, and nothing about gambling. Its names, cities and professions are
drawn at random. Use it to learn and to test; the same commands take any real model.

Made by `python -m recipes.tiny all` (see `recipes/tiny/README.md`); every figure below is measured
on the shipped files by `python -m recipes.tiny evaluate` and stands in `metrics.json`.

## How it was trained

One pass over {metrics["corpus"]["n_tokens"]:,} tokens, float32, AdamW, cosine, windows of 128 and
then 256 tokens (positions up to 512 are allowed; beyond 256 it was never trained). The checkpoint
was chosen on 1,000 of 2,000 development texts drawn for that purpose, never on the dataset.

{_corpus_table(metrics)}

Labelled prompts carry the more probable label, not a drawn one, use half of the opinion words and
few contrasts, reports or ironies, and are never neutral. So the model is decent at the task, too
sure of itself, and has something left to learn. No document contains a text of the dataset or a
near-duplicate of one (Jaccard similarity of word triples at least 0.8;
{metrics["corpus"]["n_refused_as_near_duplicates"]} drawn documents were refused for that). A short
text can still stand inside a longer document, as one of its sentences: that is so for
{metrics["corpus"]["n_dataset_texts_inside_documents"]} of the 10,000.

## Sentiment

Prompt: `<|bos|>Label the text as negative or positive.\\nText: {{text}}\\nLabel:`, then ` negative`
or ` positive`, each one token. On 2,000 held-out texts of the dataset:

{_sentiment_table(metrics)}

Untuned, the two labels together hold {base["label_mass"]:.3f} of the probability. Accuracy gained
by tuning over TF-IDF: {_gain(metrics, "tuned_over_tfidf")}; over the untuned model:
{_gain(metrics, "tuned_over_base")}. The tuning here is a quick one, to show that the gap can be
closed; `glassbox tune` does it properly.

## Facts

Prompt: `<|bos|>Question: Where does {{name}} live?\\nAnswer:`. `../facts.jsonl` lists each invented
person with the question, the answer, how many documents told it (`exposure`), and in which share
of them (`answer_share`; contested facts were told in two versions). Every person is named in
{facts["distinct_mention_counts"][0]} documents, telling or not. One question wording per relation
(`held_out_prompt`) never occurs in training; a quarter of the people carry `split: held_out` for
whoever fits a probe.

{_fact_table(metrics)}

Twelve answers are possible per relation. Names are made so that their length betrays nothing: all
have {facts["distinct_token_counts"]} tokens, and the token count alone tells facts told 32 times or
more from facts never told with AUROC {facts["token_count_auroc"]:.2f} (number of characters:
{facts["character_count_auroc"]:.2f}). Entropy tells facts told 128 times from facts never told
with AUROC {facts["auroc_of_entropy_prompt"]:.2f}. Put such baselines beside every probe.

## Slot machine

`../slot_machine.jsonl` holds pairs of prompts that share every number and differ in a safe or a
risky framing. The answer is ` stop` or ` continue`; probability to stop:

{_slot_table(metrics)}
"""


def dataset_card(metrics: Metrics) -> str:
    """The text of ``assets/dataset/README.md``."""
    data = metrics["dataset"]
    length = data["words_per_text"]
    rows = [
        [f"`{name}.jsonl`", cell["n"], cell["mean_confidence_of_truth"], cell["fraction_positive"]]
        for name, cell in data["by_category"].items()
    ]
    header = ["file", "texts", "mean max(p, 1 - p)", "fraction labelled positive"]
    categories = table(header, rows)
    return f"""# The embedded dataset

{data["n"]:,} English texts with a sentiment label and, because a grammar wrote them, the **true
probability** of that label. One JSON Lines file per category, keys `text`, `category`,
`p_positive` (the truth, in [0, 1]) and `label` (`positive` or `negative`, drawn once with
`p_positive`).

**What it is not.** Not real language, not a benchmark: {data["n_distinct_words"]:,} distinct words,
eighteen areas of life plus sport and work, {length["min"]} to {length["max"]} words a text (mean
{length["mean"]:.1f}). Words and their strengths are the authors' choice; good results here say
nothing about good results on people's texts.

{categories}

The best possible accuracy is {data["bayes_accuracy_expected"]:.3f} in expectation
({data["bayes_accuracy_realised"]:.3f} on the labels as drawn): the labels are noisy on purpose, and
a perfectly calibrated confidence is `max(p_positive, 1 - p_positive)`.

## Where p_positive comes from

- An opinion word has a sign and one of three strengths; degree adverbs multiply it (1.3 or 0.6).
- A negation turns it round and weakens it (factor -0.6: "nobody could call the room cosy"); two
  negations 0.5; irony -0.85 ("oh sure, the view was superb"); what might have been -0.5; a
  telling event without an opinion word counts 0.8.
- In "X, but Y" and its relatives, and in "at first X, later Y", Y counts fully and X 0.2. What
  others say counts 0.1 beside the speaker's own view, or 0.8 and -0.7 where the speaker agrees or
  disagrees; what is true of another thing does not count. "X and Y" counts both, 0.75 each.
- A second sentence counts 0.6. The sum times 4.2 is the logit, cut off at 5.2, and `p_positive` is
  its sigmoid. Strong, medium and weak are ranges of max(p, 1 - p): from 0.965, from 0.90, from
  0.62.
- Neutral texts have no opinion words: sport leans positive, work negative (logit 1.3), and what
  followed moves that by 0.55.

The constants stand in `recipes/tiny/clauses.py`, `grammar.py` and `neutral.py`. Because words
interact, a bag of words falls short: TF-IDF with logistic regression reaches
{metrics["sentiment"]["tfidf"]["accuracy"]:.3f} where the truth reaches
{metrics["sentiment"]["bayes"]["accuracy"]:.3f} on the same 2,000 texts, a gap of
{_gain(metrics, "bayes_over_tfidf")}.

## Leaks

- Identical texts: {data["n_identical_pairs"]}. Pairs with Jaccard similarity of word triples of at
  least 0.8, searched over all pairs: {data["n_near_duplicate_pairs"]} (removed when drawn). At
  least 0.6: {data["n_pairs_with_jaccard_0.6"]}.
- No two texts share template and all fillers, so any split is clean.
- The model's pre-training corpus and its development set avoid these texts and their
  near-duplicates. As one sentence of a longer document,
  {metrics["corpus"]["n_dataset_texts_inside_documents"]} of them occur, nearly all of them
  of at most ten words.

Made by `python -m recipes.tiny dataset`, seeded; the same files come out again, byte for byte.
"""


def write_cards(metrics_path: Path, model_folder: Path, dataset_folder: Path) -> None:
    """Writes both cards from the metrics file."""
    metrics = json.loads(metrics_path.read_text(encoding="utf-8"))
    (model_folder / "README.md").write_text(model_card(metrics), encoding="utf-8")
    (dataset_folder / "README.md").write_text(dataset_card(metrics), encoding="utf-8")
