"""An adapter of one's own."""
