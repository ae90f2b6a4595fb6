"""Scoring: vectors on tasks, beside the paper's numbers, and hidden states beside routing weights."""
