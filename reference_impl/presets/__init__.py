"""Named settings: the four published records, each at its full size and at a tiny one."""

from reference_impl.config import Settings
from reference_impl.errors import SettingsError
from reference_impl.presets.pr779 import PR779
from reference_impl.presets.pr834 import PR834
from reference_impl.presets.pr924 import PR924
from reference_impl.presets.pr940 import PR940
from reference_impl.presets.sizes import SIZES, tiny

RECORDS = {"pr779": PR779, "pr834": PR834, "pr940": PR940, "pr924": PR924}
TINY = tiny(PR779)
PRESETS = {**RECORDS, "tiny": TINY}


def preset(name: str, size: str = "full") -> Settings:
    """Return the settings of that name and size; "tiny" has but one size."""
    if name not in PRESETS:
        raise SettingsError(f"unknown preset {name!r}, expected one of {', '.join(PRESETS)}")
    if size not in SIZES:
        raise SettingsError(f"unknown size {size!r}, expected one of {', '.join(SIZES)}")
    return TINY if name == "tiny" else SIZES[size](RECORDS[name])
