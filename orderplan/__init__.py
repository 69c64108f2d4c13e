"""The public face of orderplan: what plug-ins and scripts import."""

from adapters.interface import Adapter, Outcome, Task

__all__ = ["Adapter", "Outcome", "Task"]
