"""Glassbox over HTTP, for programs that have no model of their own: light, without torch."""

from glassbox.client.blocking import Client
from glassbox.client.concurrent import AsyncClient

__all__ = ["AsyncClient", "Client"]
