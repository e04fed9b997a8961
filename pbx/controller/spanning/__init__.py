"""Queues that span POPs, at work: this POP's part (``desk``), the calls of other POPs that its agents take
(``guests``), and the router, which any POP may be (``election``, ``global_router``)."""
