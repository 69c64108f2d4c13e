"""Delay models: the interface, features, stock models, training and backtest."""
