"""Fitting one LoRA adapter to a loss."""
