"""Challengers that see copies of the traffic: processes of their own, lanes in front of them."""
