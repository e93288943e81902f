"""Programs that scripts call for their log, or to measure their own size."""

import os
import sys

PROGRAMS = {
    "nvidia-smi": "#!/bin/sh\nexit 0\n",
    # The real one, wherever the interpreter keeps its packages.
    "pyminify": '#!/bin/sh\nexec {python} -m python_minifier "$@"\n',
    # `lrzip -z -L 9 -o OUT IN` and `lrzip -d -f -o OUT IN`, in another format that both ends share.
    "lrzip": """#!{python}
import lzma, sys
words = sys.argv[1:]
target, source = words[words.index("-o") + 1], words[-1]
data = open(source, "rb").read()
with open(target, "wb") as file:
    file.write(lzma.decompress(data) if "-d" in words else lzma.compress(data))
""",
}


def install(folder: str) -> None:
    """Write the programs into a folder that is on the path."""
    os.makedirs(folder, exist_ok=True)
    for name, text in PROGRAMS.items():
        path = os.path.join(folder, name)
        with open(path, "w") as file:
            file.write(text.replace("{python}", sys.executable))
        os.chmod(path, 0o755)
