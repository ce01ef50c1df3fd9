"""Built-in techniques, one file each: plain functions of a model and a tokenizer.

Each returns a frozen dataclass of plain values, whose ``view()`` draws it. Torch is imported when a
technique runs, so that a result can be held and drawn where torch is absent.
"""
