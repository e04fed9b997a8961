"""The virtual clock of the unit tests is the one of ``callplane flow test``."""

from pbx.simulation.virtual_time import VirtualTimeLoop, real_deadline

__all__ = ["VirtualTimeLoop", "real_deadline"]
