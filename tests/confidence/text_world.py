"""Small tokenizers and texts for the tests of room 1; nothing from the network, no model."""

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from glassbox.confidence.data.labelled import LabelledTexts
from glassbox.engine.text_codec import TextCodec
from glassbox.types import TokenIds

SPECIAL = ["<|pad|>", "<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>"]

CORPUS = [
    "Label the text as negative or positive.\nText: a gem of a film\nLabel: positive",
    "Label the text as negative or positive.\nText: the plot is dull\nLabel: negative",
    "sport sports work works Positive Negative Sport football, a text about sports and work",
] * 20


class BpeCodec(TextCodec):
    """A byte-level BPE tokenizer trained in code, with or without a chat template."""

    before_answer = ""

    def __init__(
        self, *, chat: bool = False, words_apart: bool = True, template: str | None = None
    ) -> None:
        tokenizer = Tokenizer(models.BPE())
        # Without a pattern, merges cross spaces and punctuation as they do in some tokenizers.
        tokenizer.pre_tokenizer = (
            pre_tokenizers.ByteLevel(add_prefix_space=False)
            if words_apart
            else pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(r"\n"), "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
        )
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.train_from_iterator(
            CORPUS,
            trainers.BpeTrainer(
                vocab_size=400,
                special_tokens=SPECIAL,
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                show_progress=False,
            ),
        )
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|bos|> $A", special_tokens=[("<|bos|>", 1)]
        )
        self.tokenizer = tokenizer
        self.template = template or "<|user|>{user}<|assistant|>\n"
        self._chat = chat

    def encode(
        self, texts: Sequence[str], *, special: bool = True, literal: bool = False
    ) -> list[TokenIds]:
        self.tokenizer.encode_special_tokens = literal
        found = self.tokenizer.encode_batch(list(texts), add_special_tokens=special)
        return [tuple(each.ids) for each in found]

    def encode_continuations(
        self, texts: Sequence[str], *, literal: bool = False
    ) -> list[TokenIds]:
        return self.encode(texts, special=False, literal=literal)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    def token(self, token_id: int) -> str:
        return self.decode([token_id])

    @property
    def has_chat_template(self) -> bool:
        return self._chat

    def chat(self, user: str, *, system: str | None = None) -> str:
        return self.template.replace("{user}", user.strip())


class TableCodec(TextCodec):
    """Characters to ids by a table; characters that are not in it vanish."""

    before_answer = ""

    def __init__(self, table: dict[str, int]) -> None:
        self.table = table

    def encode(
        self, texts: Sequence[str], *, special: bool = True, literal: bool = False
    ) -> list[TokenIds]:
        return [tuple(self.table[each] for each in text if each in self.table) for text in texts]

    def encode_continuations(
        self, texts: Sequence[str], *, literal: bool = False
    ) -> list[TokenIds]:
        return self.encode(texts, special=False, literal=literal)

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(next(key for key, value in self.table.items() if value == i) for i in ids)

    def token(self, token_id: int) -> str:
        return self.decode([token_id])

    @property
    def has_chat_template(self) -> bool:
        return False

    def chat(self, user: str, *, system: str | None = None) -> str:
        raise NotImplementedError


def labelled(n_rows: int, n_classes: int = 2, *, repeats: int = 0) -> LabelledTexts:
    """Return rows of different texts, classes in turn; ``repeats`` rows repeat earlier texts."""
    texts = [f"Text number {i}" for i in range(n_rows - repeats)]
    labels = [f"class{i % n_classes}" for i in range(n_rows - repeats)]
    return LabelledTexts(
        texts=(*texts, *(f"  text  NUMBER {i}" for i in range(repeats))),
        labels=(*labels, *labels[:repeats]),
        source="made up",
        format="made up",
    )
