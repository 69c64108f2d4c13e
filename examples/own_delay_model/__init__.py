"""A delay model of one's own: copy it and change what it learns."""
