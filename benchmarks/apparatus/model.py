"""The model and the texts that every benchmark uses.

A seeded, randomly initialised Llama of 39.6M parameters with a byte-level BPE tokenizer trained on
real sentences: large enough that matrix products matter, small enough for two cores. It is made
once and kept in a cache folder. Its answers mean nothing; only its speed does.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from glassbox.errors import UnknownName
from glassbox.types import TokenIds

N_LAYERS = 12
D_MODEL = 512
D_FEED_FORWARD = 1408
N_HEADS = 8
N_KV_HEADS = 4
D_VOCAB = 4096
SEED = 0

N_TEXTS = 256
N_INSTRUCTION_TOKENS = 60
LABELS = (" negative", " positive")

INSTRUCTION = (
    "Read the sentence from a film review and decide what its writer thinks of the film. "
    "Answer with one word: positive if the writer liked it, negative if the writer did not. "
    "Do not let single words mislead you: irony, contrast and negation decide as often as praise "
    "or blame, and a sentence may hold both. Think of the whole film, not of one of its parts.\n"
)


@dataclass(frozen=True)
class Workload:
    """What a benchmark has to score."""

    prompts: tuple[TokenIds, ...]
    """The instruction's tokens, then a sentence's."""
    continuations: tuple[TokenIds, ...]
    """One token for each label."""
    n_instruction: int
    """Tokens that all prompts share by design."""

    @property
    def n_sentence_tokens(self) -> int:
        """Tokens of the sentences without the instruction."""
        return sum(len(prompt) - self.n_instruction for prompt in self.prompts)


def data_folder() -> Path:
    """Return the folder of real data.

    Raises:
        UnknownName: GLASSBOX_TEST_DATA names no folder.
    """
    name = os.environ.get("GLASSBOX_TEST_DATA", "")
    folder = Path(name)
    if not name or not folder.is_dir():
        raise UnknownName("data folder", name, remedy="Set GLASSBOX_TEST_DATA.")
    return folder


def sentences(split: str) -> list[str]:
    """Return the sentences of SST-2's ``train`` or ``test`` split, in the file's order."""
    path = data_folder() / "text-classification" / "sst2" / f"stsa.binary.{split}"
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.partition(" ")[2] for line in lines if line.strip()]


def model_folder() -> Path:
    """Return the folder of the benchmark model; makes it on the first call."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "glassbox" / "benchmark-model-1"
    if (folder / "config.json").is_file():
        return folder
    unfinished = folder.with_name(folder.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    train_tokenizer().save_pretrained(unfinished)
    make_model().save_pretrained(unfinished)
    unfinished.rename(folder)
    return folder


def make_model() -> LlamaForCausalLM:
    """Return the seeded random Llama in bfloat16."""
    config = LlamaConfig(
        vocab_size=D_VOCAB,
        hidden_size=D_MODEL,
        intermediate_size=D_FEED_FORWARD,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        num_key_value_heads=N_KV_HEADS,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(config)
    model.to(torch.bfloat16)  # type: ignore[arg-type]  # transformers narrows torch's signature
    return model


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of 4,096 pieces trained on SST-2's training sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=D_VOCAB,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    labelled = [f"{INSTRUCTION}{text}{label}" for text in sentences("train") for label in LABELS]
    tokenizer.train_from_iterator(labelled, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def workload(tokenizer: PreTrainedTokenizerBase, n_texts: int = N_TEXTS) -> Workload:
    """Return real sentences behind an instruction of 60 tokens, BOS included."""
    bos = [tokenizer.bos_token_id]
    instruction = (bos + tokenizer.encode(INSTRUCTION))[:N_INSTRUCTION_TOKENS]
    assert len(instruction) == N_INSTRUCTION_TOKENS
    pool = sentences("test")
    texts = [pool[i % len(pool)] for i in range(n_texts)]
    prompts = tuple((*instruction, *tokenizer.encode(text)) for text in texts)
    labels = tuple(tuple(tokenizer.encode(label)) for label in LABELS)
    assert all(len(label) == 1 for label in labels)
    return Workload(prompts, labels, len(instruction))


def n_block_parameters(model: LlamaForCausalLM) -> int:
    """Return the parameters without embedding and output head: what each token goes through."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    n_ends = sum(parameter.numel() for end in ends for parameter in end.parameters())
    return sum(parameter.numel() for parameter in model.parameters()) - n_ends
