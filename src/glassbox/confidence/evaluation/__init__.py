"""Answers to held-out rows beside what is true of them, kept on disk; and a bag of words for scale.

Knows rows and answers; turns them into no figure.
"""
