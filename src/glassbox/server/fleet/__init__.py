"""The servers that share one database: what each says of itself, and all of them in one answer.

Knows the others by their rows alone; knows no route, and asks no other server.
"""
