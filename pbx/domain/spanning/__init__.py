"""Queues that span POPs: who may offer which call to which agent. Pure.

* The *owner* of an agent is the POP where the phone is registered; only it changes the agent's state (``owner``).
* The *home* of a call is the POP where the caller is; only it gives the call to somebody (``home``).
* The *router* proposes. What it knows of both is soft, and may be old, doubled or missing (``overview``).

A proposal goes to the home, which takes it only while the call is open as the router saw it; the home rings the owner
(that is the SIP leg between the two POPs), which takes it only while the agent is free as the router saw it. So each
side decides about its own alone, in one place and at one time, and whatever the router or the network does wrong
costs a refusal. ``tests/model`` looks at all the ways in which these rules can be played.
"""
