"""``callplane flow test --sip``: the cases of a file as real calls to a running POP."""
