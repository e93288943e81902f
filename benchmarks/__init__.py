"""What is fast, measured beside what it replaces: `python -m benchmarks` writes the page."""
