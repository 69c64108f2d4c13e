"""Importers that translate foreign catalogues into ours."""
