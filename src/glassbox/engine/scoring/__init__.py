"""Log-probabilities of given continuations, with shared beginnings computed once."""
