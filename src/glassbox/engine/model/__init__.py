"""One loaded model on one machine: its files, devices, tokenizer, and whose turn it is."""
