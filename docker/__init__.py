"""Container images of Callplane's programs."""
