"""What is asked of a model about a response: checks, wordings, swaps, samples, and who is asked.

Knows requests and what they cost; does not know what the numbers are worth.
"""
