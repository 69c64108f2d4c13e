"""The adapter interface and the stock adapters, one module per kind of system."""
