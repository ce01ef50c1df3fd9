"""How the embedded model's SAEs were made."""
