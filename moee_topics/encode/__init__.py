"""Texts to hidden states and router scores; the only room that names torch and transformers."""
