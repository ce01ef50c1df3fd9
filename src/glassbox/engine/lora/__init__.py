"""Many LoRA adapters on one model, within byte budgets."""
