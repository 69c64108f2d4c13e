"""The rules of orders and their plans: pure Python, no I/O, no clock, no chance."""
