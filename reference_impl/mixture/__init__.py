"""How much of each component a prediction gets."""
