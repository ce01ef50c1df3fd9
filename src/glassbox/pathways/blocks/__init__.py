"""Blocks of Llama-like models written out by hand: forward, and backward for many cotangents."""
