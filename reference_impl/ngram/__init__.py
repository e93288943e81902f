"""Caches of n-grams counted in the text that has already been scored."""
