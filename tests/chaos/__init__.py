"""Faults put into a running stack, and an independent check of what is left."""
