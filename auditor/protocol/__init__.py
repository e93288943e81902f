"""Proof for systems that an auditor can drive: the text comes back from the bits."""
