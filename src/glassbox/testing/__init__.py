"""Small engines for tests, ours and yours: real ones of random weights, and a fake without any."""

from glassbox.testing.fake import FakeEngine
from glassbox.testing.tiny import ARCHITECTURES, tiny_engine, tiny_loaded, tiny_tokenizer

__all__ = ["ARCHITECTURES", "FakeEngine", "tiny_engine", "tiny_loaded", "tiny_tokenizer"]
