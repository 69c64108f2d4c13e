"""How late an order will be: the contract of delay models, the one builder of what they see, and the built-in model."""

from delay.event_log import Case, Event, EventLog, Prefix, from_event_log
from delay.model import ClosedOrder, DelayModel, Factor, Prediction
from delay.snapshot import ItemSnapshot, Snapshot

__all__ = [
    "Case",
    "ClosedOrder",
    "DelayModel",
    "Event",
    "EventLog",
    "Factor",
    "ItemSnapshot",
    "Prediction",
    "Prefix",
    "Snapshot",
    "from_event_log",
]
