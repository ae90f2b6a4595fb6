"""Weights in fewer bits: how each kind rounds and holds them, and multiplies with them."""
