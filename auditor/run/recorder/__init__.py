"""What is placed inside the child process: the event recorder; imports nothing of the auditor."""
