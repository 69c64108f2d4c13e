"""`orderplan demo`."""


def demo() -> None:
    """Run the demo."""
