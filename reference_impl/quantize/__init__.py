"""Weights in few bits, and the file that carries them."""
