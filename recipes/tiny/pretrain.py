"""Pre-training of the embedded model, with checkpoints judged on a development set.

Float32, AdamW, cosine; documents packed one after another; answers (labels, facts, decisions)
weigh ``ANSWER_WEIGHT`` times in the loss. Knows nothing of the dataset's texts.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from tokenizers import Tokenizer

from recipes.tiny.corpus import Document
from recipes.tiny.lean import LeanLlama, Shape, save_model
from recipes.tiny.tokenizer import BOS_ID, EOS_ID

MODEL_SEED = 11
ANSWER_WEIGHT = 8.0
PEAK_LEARNING_RATE = 1.5e-3
FINAL_FRACTION = 0.05
WARM_UP_STEPS = 200
WEIGHT_DECAY = 0.05
CLIP_NORM = 1.0
TOKENS_PER_STEP = 2048
LONG_WINDOW_FROM = 0.65
"""Share of the tokens after which windows grow from 128 to 256 tokens."""
SHORT_WINDOW, LONG_WINDOW = 128, 256


@dataclass(frozen=True)
class Stream:
    """The corpus as one row of tokens with the loss weight of each."""

    token_ids: Int[np.ndarray, "n"]
    weights: Float[np.ndarray, "n"]


def pack(documents: list[Document], tokenizer: Tokenizer) -> Stream:
    """All documents, each as <|bos|> text answer <|eos|>."""
    token_ids: list[int] = []
    weights: list[float] = []
    for start in range(0, len(documents), 20_000):
        part = documents[start : start + 20_000]
        texts = tokenizer.encode_batch([d.text for d in part], add_special_tokens=False)
        answers = tokenizer.encode_batch([d.answer for d in part], add_special_tokens=False)
        for text, answer in zip(texts, answers, strict=True):
            token_ids += [BOS_ID, *text.ids, *answer.ids, EOS_ID]
            weights += [1.0] * (1 + len(text.ids)) + [ANSWER_WEIGHT] * len(answer.ids) + [1.0]
    return Stream(np.array(token_ids, dtype=np.int64), np.array(weights, dtype=np.float32))


def windows(stream: Stream) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]]:
    """Batches of inputs, targets and weights in corpus order, and the share of tokens used."""
    position, n = 0, len(stream.token_ids)
    while True:
        width = SHORT_WINDOW if position < LONG_WINDOW_FROM * n else LONG_WINDOW
        rows = TOKENS_PER_STEP // width
        if position + rows * width + 1 > n:
            return
        ids = torch.from_numpy(stream.token_ids[position : position + rows * width + 1])
        weights = torch.from_numpy(stream.weights[position + 1 : position + rows * width + 1])
        yield (
            ids[:-1].view(rows, width),
            ids[1:].view(rows, width),
            weights.view(rows, width),
            position / n,
        )
        position += rows * width


def learning_rate(step: int, n_steps: int) -> float:
    """Linear warm-up, then a cosine down to ``FINAL_FRACTION`` of the peak."""
    if step < WARM_UP_STEPS:
        return PEAK_LEARNING_RATE * (step + 1) / WARM_UP_STEPS
    progress = (step - WARM_UP_STEPS) / max(1, n_steps - WARM_UP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return PEAK_LEARNING_RATE * (FINAL_FRACTION + (1 - FINAL_FRACTION) * cosine)


def make_optimizer(model: LeanLlama) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices alone."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    gains = [p for p in model.parameters() if p.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": WEIGHT_DECAY},
        {"params": gains, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.95), fused=True)


def pretrain(
    stream: Stream,
    folder: Path,
    judge: Callable[[LeanLlama], dict[str, object]],
    *,
    shape: Shape | None = None,
    n_checkpoints: int = 16,
) -> Path:
    """The folder of the last checkpoint; every checkpoint is judged and logged.

    Args:
        stream: The packed corpus, read once.
        folder: Where checkpoints (bfloat16) and ``log.jsonl`` go.
        judge: Measures a model on the development set.
        shape: Sizes of the model.
        n_checkpoints: How many checkpoints, evenly spaced.
    """
    torch.manual_seed(MODEL_SEED)
    torch.set_num_threads(2)
    model = LeanLlama(shape or Shape())
    optimizer = make_optimizer(model)
    n_steps = len(stream.token_ids) // TOKENS_PER_STEP
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    log.write_text("", encoding="utf-8")
    started, losses, saved = time.monotonic(), [], folder
    for step, (inputs, targets, weights, _) in enumerate(windows(stream)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, n_steps)
        logits = model(inputs)
        each = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        loss = (each * weights.flatten()).sum() / weights.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        losses.append(float(loss.detach()))
        checkpoint = (step + 1) * n_checkpoints // n_steps > step * n_checkpoints // n_steps
        if checkpoint or (step + 1) % 50 == 0:
            record: dict[str, object] = {
                "step": step + 1,
                "n_steps": n_steps,
                "loss": round(float(np.mean(losses[-50:])), 4),
                "elapsed_s": round(time.monotonic() - started, 1),
            }
            if checkpoint:
                saved = folder / f"step-{step + 1:05d}"
                save_model(model, saved)
                record |= judge(model.eval())
                model.train()
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
    return saved
