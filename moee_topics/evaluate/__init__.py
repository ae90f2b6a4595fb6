"""How good topics are: pure functions on arrays."""
