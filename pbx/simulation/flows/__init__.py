"""Flows before anybody calls them: ``callplane flow``."""
