"""The two hosts of a POP: what the active one has written goes to its standby. See README.md."""
