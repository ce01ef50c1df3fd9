"""The prompt format of the embedded model; the library's default builder writes the same text."""

INSTRUCTION = "Label the text as negative or positive."
PARAPHRASES = (
    "Label the text as positive or negative.",
    "Is this text negative or positive?",
    "Is the text positive or negative?",
    "Say whether the text is negative or positive.",
    "Decide: negative or positive.",
)
LABELS = ("negative", "positive")


def label_prompt(text: str, instruction: str = INSTRUCTION) -> str:
    """The prompt after which " negative" or " positive" follows; the tokenizer adds <|bos|>."""
    return f"{instruction}\nText: {text}\nLabel:"
