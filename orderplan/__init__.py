"""The public face of orderplan: what plug-ins and scripts import."""

from adapters.interface import Adapter, Outcome, Task
from delay import ClosedOrder, DelayModel, Factor, ItemSnapshot, Prediction, Snapshot
from orderplan.client import ApiError, Client

__all__ = [
    "Adapter",
    "ApiError",
    "Client",
    "ClosedOrder",
    "DelayModel",
    "Factor",
    "ItemSnapshot",
    "Outcome",
    "Prediction",
    "Snapshot",
    "Task",
]
