"""The protocol of queues that span POPs, played in all the ways there are: ``make model``."""
