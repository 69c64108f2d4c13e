"""Simulated histories of orders: real catalogues and real domain code; only time, systems and people are made up.

Everything made here is named as simulated: the order ids begin with `simulated-`, and so do the files.
"""

from delay.histories.settings import Desk, Drift, Outage, Sample, Settings, Slowdown
from delay.histories.simulation import Happening, KeptHistory, Simulation

__all__ = ["Desk", "Drift", "Happening", "KeptHistory", "Outage", "Sample", "Settings", "Simulation", "Slowdown"]
