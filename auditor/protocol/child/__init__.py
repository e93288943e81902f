"""What runs inside the sandbox beside a system: it drives, codes and answers, and judges nothing.

The folder is copied there and imported as `child`; it needs Python, numpy and constriction only.
"""
