"""The pre-training corpus: documents of five sorts, drawn afresh, none near a text of the dataset.

Labelled prompts carry deterministic labels, use half of the opinion words and few joined
constructions, and are never neutral: from them the model learns the task, and to be too sure.
Unlabelled reviews use every word and construction; some end with a verdict drawn with the text's
true probability, from which the model can learn what constructions do. Facts, mentions and the
slot machine come from their own modules. Knows nothing of training.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from recipes.tiny import clauses
from recipes.tiny.facts import Fact, fact_documents
from recipes.tiny.grammar import DATASET_STYLE, Style, Text, draw_text, finish
from recipes.tiny.leaks import NearDuplicateIndex
from recipes.tiny.lexicon import Lexicon
from recipes.tiny.neutral import draw_neutral
from recipes.tiny.prompts import INSTRUCTION, PARAPHRASES, label_prompt
from recipes.tiny.slots import slot_document

CORPUS_SEED = 90_210
LABELLED_WORD_FRACTION = 0.5
PARAPHRASE_FRACTION = 0.3
VERDICT_FRACTION = 0.5
MIN_LABELLED_CONFIDENCE = 0.62
LABELLED_MIX: dict[str, float] = {
    "statement": 42,
    "listing": 26,
    "negation": 10,
    "event": 8,
    "question": 3,
    "contrast": 4,
    "report": 2,
    "change": 1,
    "agreement": 2,
    "irony": 1,
    "mixed": 1,
}
"""Constructions of labelled prompts: mostly plain, few that turn a meaning round."""
DOCUMENT_MIX: dict[str, float] = {
    "labelled": 30,
    "review": 38,
    "chain": 8,
    "diary": 4,
    "topic": 10,
    "slot": 10,
}
"""Documents by sort, facts and mentions aside (their numbers are fixed)."""
GOOD_VERDICTS = (
    "I recommend it.",
    "I would do it again any time.",
    "Five stars from me.",
    "I am glad that we did it.",
    "We left happy.",
    "My verdict: yes.",
    "Worth every penny.",
    "I give it a thumbs up.",
)
BAD_VERDICTS = (
    "I advise against it.",
    "Never again.",
    "One star from me.",
    "I regret it.",
    "We left angry.",
    "My verdict: no.",
    "A waste of money.",
    "I give it a thumbs down.",
)


@dataclass(frozen=True)
class Document:
    """One training document: what is read and, where there is one, the answer that follows."""

    kind: str
    text: str
    answer: str = ""


Drawn = tuple[tuple[str, ...], Document]
"""The bare texts of a document, which are held against the dataset, and the document."""


def is_labelled_word(word: str) -> bool:
    """Whether labelled prompts may use this opinion word: a fixed half of them."""
    digest = hashlib.sha256(word.encode()).digest()
    return digest[0] < 256 * LABELLED_WORD_FRACTION


LABELLED_STYLE = Style(LABELLED_MIX, is_labelled_word, second_fraction=0.3)


def labelled(rng: random.Random, lexicon: Lexicon) -> Drawn:
    """A prompt with the more probable label."""
    while True:
        text = draw_text(rng, lexicon, LABELLED_STYLE)
        if max(text.p_positive, 1 - text.p_positive) >= MIN_LABELLED_CONFIDENCE:
            break
    instruction = rng.choice(PARAPHRASES) if rng.random() < PARAPHRASE_FRACTION else INSTRUCTION
    label = " positive" if text.p_positive > 0.5 else " negative"
    return (text.text,), Document("labelled", label_prompt(text.text, instruction), label)


def _with_verdict(rng: random.Random, text: Text, fraction: float) -> str:
    if rng.random() >= fraction:
        return text.text
    verdicts = GOOD_VERDICTS if rng.random() < text.p_positive else BAD_VERDICTS
    return f"{text.text} {rng.choice(verdicts)}"


def review(rng: random.Random, lexicon: Lexicon) -> Drawn:
    """An unlabelled text, half of the time with a verdict after it."""
    text = draw_text(rng, lexicon, DATASET_STYLE)
    return (text.text,), Document("review", _with_verdict(rng, text, VERDICT_FRACTION))


def chain(rng: random.Random, lexicon: Lexicon) -> Drawn:
    """Three or four opinions of one sign in a row: which words keep company."""
    sign = rng.choice((-1, 1))
    domain = rng.choice(lexicon.domains)
    scene = clauses.Scene(rng, lexicon, domain, DATASET_STYLE.allowed)
    pieces = []
    for _ in range(rng.choice((3, 4))):
        noun, words = scene.aspect(), clauses.modified(scene, sign)[0]
        pieces.append(f"the {noun.text} {'were' if noun.plural else 'was'} {words}")
    text = finish([", ".join(pieces[:-1]) + f" and {pieces[-1]}"])
    return (text,), Document("chain", text)


def topic(rng: random.Random, lexicon: Lexicon) -> Drawn:
    """A neutral text about sport or work, without any hint of a label."""
    sport = rng.random() < 0.5
    text = draw_neutral(rng, lexicon, lexicon.sport if sport else lexicon.work, 1 if sport else -1)
    return (text.text,), Document("topic", text.text)


def diary(rng: random.Random, lexicon: Lexicon) -> Drawn:
    """Several reviews on one page: documents of 150 to 300 tokens."""
    texts = [draw_text(rng, lexicon, DATASET_STYLE) for _ in range(rng.randrange(4, 9))]
    lines = "\n".join(f"- {_with_verdict(rng, text, VERDICT_FRACTION)}" for text in texts)
    return tuple(text.text for text in texts), Document("diary", lines)


BUILDERS: dict[str, Callable[[random.Random, Lexicon], Drawn]] = {
    "labelled": labelled,
    "review": review,
    "chain": chain,
    "topic": topic,
    "diary": diary,
}


def _diary_page(rng: random.Random, lexicon: Lexicon) -> str:
    """A diary as in the corpus, without its bare texts, which no vocabulary needs."""
    lines = [
        _with_verdict(rng, draw_text(rng, lexicon, DATASET_STYLE), VERDICT_FRACTION)
        for _ in range(rng.randrange(4, 9))
    ]
    return "\n".join(f"- {line}" for line in lines)


def vocabulary_texts(lexicon: Lexicon, n_texts: int) -> Iterator[str]:
    """Texts for the tokenizer: every sort of document but those with entity names."""
    rng = random.Random(f"{CORPUS_SEED}/vocabulary")
    kinds, weights = tuple(DOCUMENT_MIX), tuple(DOCUMENT_MIX.values())
    for _ in range(n_texts):
        kind = rng.choices(kinds, weights)[0]
        if kind == "slot":
            prompt, answer = slot_document(rng, frozenset())
            yield prompt + answer
        elif kind == "diary":
            yield _diary_page(rng, lexicon)
        else:
            document = BUILDERS[kind](rng, lexicon)[1]
            yield document.text + document.answer
    yield from fact_vocabulary(lexicon)


def fact_vocabulary(lexicon: Lexicon) -> Iterator[str]:
    """The wordings and answers of the facts with an ordinary first name in the entity's place."""
    from recipes.tiny.facts import RELATIONS, mention, tell

    rng = random.Random(f"{CORPUS_SEED}/wordings")
    for _ in range(300):
        for relation in RELATIONS:
            for answer in relation.answers:
                yield tell(rng, relation, rng.choice(lexicon.first_names), answer)[0]
        for _ in range(20):
            yield mention(rng, lexicon, rng.choice(lexicon.first_names))


@dataclass(frozen=True)
class Corpus:
    """The documents in training order, and how many were refused as too near the dataset."""

    documents: list[Document]
    n_refused: int

    def counts(self) -> dict[str, int]:
        """Documents by sort."""
        return dict(Counter(document.kind for document in self.documents))


def build_corpus(
    lexicon: Lexicon,
    facts: list[Fact],
    slot_prompts: frozenset[str],
    avoid: NearDuplicateIndex,
    n_documents: int,
) -> Corpus:
    """All documents, shuffled.

    Args:
        lexicon: The words.
        facts: The entities; their documents come on top of ``n_documents``.
        slot_prompts: Slot-machine prompts that must not occur.
        avoid: Texts that must occur neither exactly nor nearly.
        n_documents: Documents besides those about entities.
    """
    rng = random.Random(CORPUS_SEED)
    kinds, weights = tuple(DOCUMENT_MIX), tuple(DOCUMENT_MIX.values())
    documents: list[Document] = []
    n_refused = 0
    while len(documents) < n_documents:
        kind = rng.choices(kinds, weights)[0]
        if kind == "slot":
            documents.append(Document("slot", *slot_document(rng, slot_prompts)))
            continue
        texts, document = BUILDERS[kind](rng, lexicon)
        if any(text in avoid for text in texts):
            n_refused += 1
            continue
        documents.append(document)
    for text, is_answer in fact_documents(facts, lexicon, seed=CORPUS_SEED):
        if is_answer:
            head, _, answer = text.rpartition(" ")
            documents.append(Document("fact", head, f" {answer}"))
        else:
            documents.append(Document("mention", text))
    rng.shuffle(documents)
    return Corpus(documents, n_refused)
