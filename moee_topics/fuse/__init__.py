"""Hidden states and routing weights to one vector."""
