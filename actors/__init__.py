"""The Ray actors, thin shells around the rules, and the plain runtime they wrap."""
