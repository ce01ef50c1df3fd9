"""What is counted and traced: Prometheus metrics and OpenTelemetry spans.

Knows how answers ended and how long they took; knows no prompt, no text, no feature, no label.
"""
