"""The resident model: load, score, adapt. The one home of transformers and peft."""
