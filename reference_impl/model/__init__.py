"""The network, one component a file."""
