"""How the verifier that ships was trained, and what it reaches on the embedded facts."""
