"""Adapters of many forms, and banks over tiny models that hold them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from glassbox.engine.lora.bank import AdapterBank, AdapterPlaces
from glassbox.engine.lora.weights import BaseModel
from glassbox.testing import tiny_loaded

ALL = "all-linear"
FORMS: dict[str, list[dict]] = {
    "llama": [
        {"r": 3, "target_modules": ["q_proj", "v_proj"], "lora_alpha": 7},
        {
            "r": 8,
            "target_modules": ALL,
            "rank_pattern": {"q_proj": 2},
            "alpha_pattern": {"0.mlp.up_proj": 3},
        },
        {"r": 5, "target_modules": ["down_proj", "lm_head"], "use_rslora": True},
        {"r": 1, "target_modules": ["k_proj", "up_proj"], "layers_to_transform": [1]},
    ],
    "gpt2": [
        {"r": 3, "target_modules": ["c_attn"]},
        {"r": 4, "target_modules": ALL, "lora_alpha": 5},
        {"r": 2, "target_modules": r".*\.mlp\.c_proj", "use_rslora": True},
    ],
    "phi": [
        {"r": 3, "target_modules": ["q_proj", "fc1"]},
        {"r": 6, "target_modules": ALL},
        {"r": 2, "target_modules": ["dense"], "lora_alpha": 1},
    ],
}


def base_of(architecture: str) -> BaseModel:
    loaded = tiny_loaded(architecture)
    n_parameters = int(loaded.model.num_parameters())
    return BaseModel(
        loaded.model, loaded.tokenizer, loaded.name, loaded.digest, loaded.context, n_parameters
    )


def save_adapter(folder: Path, architecture: str, seed: int, **form) -> Path:
    """Save an adapter of random weights with PEFT."""
    torch.manual_seed(seed)
    config = LoraConfig(init_lora_weights=False, **form)
    made = get_peft_model(tiny_loaded(architecture).model, config)
    made.save_pretrained(folder, save_embedding_layers=False)
    return folder


def bank_of(architecture: str, folders: dict[str, list[Path]], **options) -> AdapterBank:
    bank = AdapterBank(base_of(architecture), AdapterPlaces(**options))
    for number, folder in enumerate(folders[architecture]):
        bank.register(folder, str(number))
    return bank


def slots_of(bank: AdapterBank) -> list[int]:
    """Return slot 0, then a slot for each adapter."""
    return [0, *(bank.acquire(info.name).slot for info in bank.infos())]


def tokens_of(n_rows: int, length: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(3, 60, (n_rows, length), generator=draw)


def logits(bank: AdapterBank, tokens: torch.Tensor, slots: Sequence[int]) -> torch.Tensor:
    rows = [(slot, tokens.shape[1]) for slot in slots]
    with torch.inference_mode(), bank.applying(rows):
        return bank.base.model(input_ids=tokens).logits
