import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidValue, NotEnoughData, TextTooLong, UnknownName
from glassbox.pathways.corpus.building import build_corpus
from tests.pathways.corpus.worlds import WORDS, Logged, WordEncoder, logged_texts, word_corpus

entries_of_words = st.lists(
    st.builds(
        Logged,
        st.sampled_from(["safe_baseline", "risky_baseline"]),
        st.lists(st.sampled_from(WORDS[:4]), max_size=4).map(" ".join),
        st.lists(st.sampled_from(WORDS[:3]), max_size=5).map(" ".join),
    ),
    min_size=1,
    max_size=25,
)


@given(entries_of_words)
def test_each_text_is_there_once_and_each_response_is_counted(entries):
    corpus = word_corpus(entries)
    texts = {(each.prompt, each.response) for each in entries}
    # Without a border, "a" + "b c" and "a b" + "c" are the same tokens, and still two texts.
    assert len(corpus) == len(texts)
    assert corpus.n_logged.sum() == len(entries) == corpus.counts.n_logged
    assert corpus.counts.n_duplicates == len(entries) - len(texts)


@given(entries_of_words)
def test_every_position_is_counted_or_said_why_not(entries):
    summary = word_corpus(entries).summary()
    assert summary["n_positions"] == sum(
        summary[f"n_positions_{name}"] for name in ("counted", "first", "special", "shared")
    )


@given(entries_of_words)
def test_spans_hold_every_distinct_prompt_and_response_once(entries):
    corpus = word_corpus(entries)
    spans = list(corpus.spans())
    n_prompts = sum(span.part == "prompt" for span in spans)
    assert n_prompts == len({each.prompt for each in entries})
    covered = np.zeros(len(corpus.tokens), dtype=int)
    for span in spans:
        start = corpus.offsets[span.document_id]
        covered[start + span.start : start + span.stop] += 1
    assert covered.max() <= 1
    assert ((covered == 1) | corpus.is_shared).all()


@given(entries_of_words, st.integers(2, 6))
def test_cutting_leaves_the_beginning_and_never_more_than_the_context(entries, context):
    whole, cut = word_corpus(entries), word_corpus(entries, context=context)
    assert cut.lengths.max() <= context
    kept = {whole.token_ids(i)[:context] for i in range(len(whole))}
    assert {cut.token_ids(i) for i in range(len(cut))} == kept
    assert cut.counts.n_logged == len(entries) == cut.n_logged.sum()
    assert (cut.counts.n_cut > 0) == (whole.lengths.max() > context)


def test_a_prompt_counts_where_it_was_first_seen_and_under_every_condition_it_had():
    corpus = word_corpus(
        [Logged("safe", "the cat", "sat"), Logged("risky", "the cat", "sat on"),
         Logged("risky", "a mat", "sat")]
    )  # fmt: skip
    assert corpus.prompt_owner.tolist() == [0, 0, 2]
    assert corpus.is_counted.tolist() == [0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1]
    assert corpus.in_condition("safe").tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert corpus.in_condition("risky").tolist() == [0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1]
    with pytest.raises(UnknownName, match="No condition 'saef'"):
        corpus.in_condition("saef")


def test_empty_parts_are_kept_and_counted():
    corpus = word_corpus([Logged("a", "the cat", ""), Logged("a", None, "sat on")])
    assert corpus.counts.n_empty == 1
    assert corpus.counts.n_without_prompt == 1
    assert [corpus.token_ids(i) for i in range(2)] == [(0, 1, 2), (0, 3, 4)]
    assert corpus.excluded(0) == (0,)


def test_special_tokens_are_excluded_wherever_they_stand():
    corpus = word_corpus([Logged("a", "the cat", "sat on")], special_ids=[0, 3])
    assert corpus.excluded(0) == (0, 3)
    assert corpus.is_counted.tolist() == [0, 1, 1, 0, 1]


def test_long_texts_are_refused_or_left_out_where_that_is_the_policy():
    entries = [Logged("a", "the cat sat", "on a mat"), Logged("a", "the", "cat")]
    with pytest.raises(TextTooLong, match="logged text"):
        word_corpus(entries, context=4, overlong="error")
    skipped = word_corpus(entries, context=4, overlong="skip")
    assert len(skipped) == 1
    assert skipped.counts.n_skipped == 1
    cut = word_corpus(entries, context=3)
    assert (cut.counts.n_cut, cut.counts.n_prompts_cut, cut.counts.n_cut_tokens) == (1, 1, 4)


def test_the_digest_follows_what_is_counted():
    entries = logged_texts()
    digests = {
        word_corpus(entries).digest,
        word_corpus(entries[:-1]).digest,
        word_corpus(entries, special_ids=[0, 1]).digest,
        word_corpus([*entries, entries[0]]).digest,
    }
    assert len(digests) == 4
    assert word_corpus(entries).digest == word_corpus(logged_texts()).digest


def test_what_cannot_be_is_refused():
    with pytest.raises(NotEnoughData, match="no text that can be read"):
        build_corpus([], WordEncoder(), context=9, special_ids=[])
    with pytest.raises(InvalidValue, match="two tokens"):
        word_corpus(context=1)
