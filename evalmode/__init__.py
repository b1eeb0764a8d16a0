"""The command line and the Python client of Evalmode; it never loads torch."""

from evalmode.async_client import AsyncClient
from evalmode.client import Client
from evalmode.errors import EvalmodeApiError

__all__ = ["AsyncClient", "Client", "EvalmodeApiError"]
