"""Pandora's side of things: its hosts file, its events, its epoch record, its service, its texts."""
