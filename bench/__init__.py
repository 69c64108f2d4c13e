"""Measurements: load generator, scenarios, reports. Loopback only; stops by itself. Not part of the wheel."""
