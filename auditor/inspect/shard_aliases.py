"""Commands by which a submission puts validation shards where training shards are looked for.

README and shell scripts are searched for `ln`, `cp` and `mv` of a file that is named as a shard of
validation to one that is named as a shard of training. It counts only where the folder is the one
that the run lines train from.
"""

import re
from pathlib import PurePosixPath

from auditor.evidence import ShardAliases, SourceLine
from auditor.inspect.config import read_launch
from auditor.submission import Submission

_PUT = re.compile(
    r"^\s{0,20}(?:\$ )?(?:ln|cp|mv)\s(?:-\w{1,5}\s){0,3}(\S{1,200}_val_\S{1,60})\s"
    r"(\S{1,200}_train_\S{1,60})\s*$"
)
MAX_CHARACTERS = 400_000


def read_shard_aliases(submission: Submission) -> ShardAliases:
    """The commands, for the folder of the run lines."""
    folder = PurePosixPath(read_launch(submission).environment.get("DATA_PATH", "")).name
    found = []
    for path, file in submission.files.items():
        if folder and "/" not in path and path.lower().endswith((".md", ".sh")):
            for number, line in enumerate(file.text[:MAX_CHARACTERS].splitlines(), 1):
                put = _PUT.match(line[:600])
                if put and PurePosixPath(put[2]).parent.name == folder:
                    found.append(SourceLine(file=path, line=number, text=line.strip()[:200]))
    return ShardAliases(folder=folder, lines=tuple(found))
