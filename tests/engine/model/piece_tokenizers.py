"""Tokenizers like those of Llama 2, Mistral and Phi-3, which put a space before every text."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

STYLES = ("prepend", "first", "always")
"""How they do it: by a normaliser, or a Metaspace before the first word, or before every one."""


def piece_tokenizer(style: str, *, chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """Return a tokenizer that puts a space before texts in one of the library's ways."""
    whole = ["\u2581", "a", "b", "\u2581a", "ab", "\u2581ab", ",", "\u2581,"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *whole]
    merges = [("\u2581", "a"), ("a", "b"), ("\u2581a", "b"), ("\u2581", ",")]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    made = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>")
    )
    if style == "prepend":
        made.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=style, split=style == "always")
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", chat_template=chat_template
    )
