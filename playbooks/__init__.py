"""Provisioning of POPs and of the centre by Ansible; the Python here is what the plays run on the control machine."""
