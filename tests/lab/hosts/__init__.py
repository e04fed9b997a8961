"""Machines of the lab that boot: Debian with systemd and an SSH server, for what has to be installed on bare hosts."""
