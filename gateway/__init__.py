"""The HTTP face: routes, handlers, TM Forum resources, the event stream."""
