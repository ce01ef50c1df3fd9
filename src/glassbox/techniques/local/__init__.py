"""A worker process of this machine that keeps one model resident."""
