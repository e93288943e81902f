"""What a program learns from which tokens, in the order in which it runs, without running it."""
