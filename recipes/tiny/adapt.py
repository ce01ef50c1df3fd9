"""A quick LoRA fit of the embedded model, to see what tuning can reach; not the library's tuner.

Knows rows and the saved model folder, nothing of calibration.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from recipes.tiny.prompts import LABELS, label_prompt
from recipes.tiny.scoring import encode_prompt, single_token
from recipes.tiny.sentiment import Row
from recipes.tiny.tokenizer import PAD_ID


@dataclass(frozen=True)
class Plan:
    """How to tune."""

    rank: int = 8
    alpha: int = 16
    n_epochs: int = 3
    batch: int = 32
    learning_rate: float = 3e-3
    seed: int = 3


def _batch(tokenizer: Tokenizer, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    encoded = [encode_prompt(tokenizer, label_prompt(row.text)) for row in rows]
    ids = torch.full((len(rows), max(len(tokens) for tokens in encoded)), PAD_ID)
    for number, tokens in enumerate(encoded):
        ids[number, : len(tokens)] = torch.tensor(tokens)
    return ids, torch.tensor([len(tokens) - 1 for tokens in encoded])


def tuned_p_positive(
    folder: Path, tokenizer: Tokenizer, train: Sequence[Row], test: Sequence[Row], plan: Plan
) -> Float[np.ndarray, "n"]:
    """Probability of "positive" on ``test`` after LoRA tuning on the drawn labels of ``train``."""
    torch.manual_seed(plan.seed)
    base = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    config = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=0.0,
        target_modules=[
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ],
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, config)
    label_ids = torch.tensor([single_token(tokenizer, f" {label}") for label in LABELS])

    def label_logits(rows: Sequence[Row]) -> torch.Tensor:
        ids, last = _batch(tokenizer, rows)
        states = base.model(input_ids=ids, use_cache=False).last_hidden_state
        read = states[torch.arange(len(rows)), last]
        logits: torch.Tensor = base.lm_head(read)[:, label_ids]
        return logits

    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=plan.learning_rate, weight_decay=0.0)
    rng = random.Random(plan.seed)
    n_steps, step = plan.n_epochs * (len(train) // plan.batch), 0
    for _ in range(plan.n_epochs):
        order = list(train)
        rng.shuffle(order)
        for start in range(0, len(order) - plan.batch + 1, plan.batch):
            rows = order[start : start + plan.batch]
            for group in optimizer.param_groups:
                warm = min(1.0, (step + 1) / 30)
                group["lr"] = plan.learning_rate * warm * (1 - 0.95 * step / n_steps)
            target = torch.tensor([LABELS.index(row.label) for row in rows])
            loss = functional.cross_entropy(label_logits(rows), target)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trainable, 1.0)
            optimizer.step()
            step += 1
    model.eval()
    by_length = sorted(range(len(test)), key=lambda i: len(test[i].text))
    out = np.zeros(len(test))
    with torch.no_grad():
        for start in range(0, len(test), 64):
            chosen = by_length[start : start + 64]
            probs = torch.softmax(label_logits([test[i] for i in chosen]), -1)
            out[chosen] = probs[:, 1].numpy()
    return out
