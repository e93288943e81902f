"""The service: POST a submission, get an audited verdict that stays."""
