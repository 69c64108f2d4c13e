"""The demo: everything on this machine, real orders over HTTP, people and systems played by stand-ins."""
