"""Audits scores of language models that adapt while they are being evaluated."""

__version__ = "0.1.0"
