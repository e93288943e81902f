"""Placed inside the child process: watches the submission's own code and sends what it saw.

Imports nothing of the auditor. It only reports what happened (tokens looked up, sums taken, tables
written, optimiser steps); what that means is worked out outside, in `auditor.run.timeline`.
"""
