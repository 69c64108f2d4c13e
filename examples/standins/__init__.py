"""Stand-ins for four fulfilment systems, in one HTTP process: `python -m examples.standins --port 9100`."""
