"""Evidence by executing the submission in a sandbox."""
