"""The public face of orderplan: what plug-ins and scripts import."""

from adapters.interface import Adapter, Outcome, Task
from orderplan.client import ApiError, Client

__all__ = ["Adapter", "ApiError", "Client", "Outcome", "Task"]
