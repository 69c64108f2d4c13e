"""How late an order will be: the contract of delay models, the one builder of what they see, and the built-in model."""

from delay.model import ClosedOrder, DelayModel, Factor, Prediction
from delay.snapshot import ItemSnapshot, Snapshot

__all__ = ["ClosedOrder", "DelayModel", "Factor", "ItemSnapshot", "Prediction", "Snapshot"]
