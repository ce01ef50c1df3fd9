"""A tiny seeded model, a slow obvious forward pass and a learnable task, for tests of fitting."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from glassbox.engine.fitting.fit import FitTask
from glassbox.engine.lora.bank import AdapterBank
from glassbox.engine.lora.weights import BaseModel
from glassbox.engine.protocol import AdapterRecipe, Example
from glassbox.types import TokenIds

CONFIGS = {
    "llama": LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        bos_token_id=1, eos_token_id=2,
    ),
    "gpt2": GPT2Config(
        vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64,
        bos_token_id=1, eos_token_id=2,
    ),
}  # fmt: skip

CONTINUATIONS: tuple[TokenIds, ...] = ((5,), (6,), (7,))

RECIPE = AdapterRecipe(rank=4, alpha=8, learning_rate=2e-2, epochs=3, batch_size=8, patience=9)


@dataclass(frozen=True)
class MeanNll:
    """Cross-entropy over the given continuations."""

    def __call__(self, logprobs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logprobs, targets)


def tiny_model(architecture: str = "llama", seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[architecture], dtype=torch.float32)
    return model.eval().requires_grad_(False)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    words = {f"w{number}": number for number in range(64)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="w1", eos_token="w2")


def tiny_base(architecture: str = "llama", *, digest: str = "d" * 64) -> BaseModel:
    model = tiny_model(architecture)
    return BaseModel(
        model=model,
        tokenizer=tiny_tokenizer(),
        name="tiny-random",
        digest=digest,
        context=64,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


@contextmanager
def answering(bank: AdapterBank, name: str | None) -> Iterator[None]:
    """Let the bank's model answer with one adapter."""
    with bank.leased(name) as lease, bank.applying_all(lease.slot):
        yield


def plain_forward(
    model: PreTrainedModel, continuations: Sequence[TokenIds] = CONTINUATIONS
) -> Callable[[Sequence[TokenIds]], torch.Tensor]:
    """Return log-probabilities of one-token continuations from a padded batch of the library."""
    ids = torch.tensor([continuation[0] for continuation in continuations])

    def forward(prompts: Sequence[TokenIds]) -> torch.Tensor:
        width = max(map(len, prompts))
        rows = torch.tensor([[*prompt] + [0] * (width - len(prompt)) for prompt in prompts])
        mask = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in prompts])
        logits = model(input_ids=rows, attention_mask=mask).logits
        last = logits[torch.arange(len(prompts)), mask.sum(dim=1) - 1]
        return last.log_softmax(dim=-1)[:, ids]

    return forward


def examples(n: int, seed: int) -> list[Example]:
    """Return prompts whose target is told by the only token among 10, 11 and 12 in them."""
    draw = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(n):
        target = int(torch.randint(3, (), generator=draw))
        length = int(torch.randint(4, 14, (), generator=draw))
        tokens = torch.randint(20, 64, (length,), generator=draw).tolist()
        tokens[int(torch.randint(length, (), generator=draw))] = 10 + target
        made.append(Example(prompt=(1, *tokens), target=target))
    return made


def task(n_train: int = 64, n_validation: int = 24) -> FitTask:
    return FitTask(
        train=examples(n_train, 1),
        validation=examples(n_validation, 2),
        continuations=CONTINUATIONS,
        loss=MeanNll(),
    )


def weights_of(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()
