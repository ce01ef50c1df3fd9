"""Glassbox over HTTP, for programs that have no model of their own: light, without torch."""

from glassbox.client.blocking import Client
from glassbox.client.concurrent import AsyncClient
from glassbox.client.problems import Retries

__all__ = ["AsyncClient", "Client", "Retries"]
