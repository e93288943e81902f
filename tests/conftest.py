"""What holds for all tests."""

from hypothesis import settings

# A busy machine is slow now and then; how long an example took says nothing about the property.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")
