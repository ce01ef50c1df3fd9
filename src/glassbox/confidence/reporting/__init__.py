"""What a run found, as tables, sentences, pictures and the report.

Arranges figures that are there; computes none.
"""
