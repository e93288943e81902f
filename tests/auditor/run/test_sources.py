"""Source on its way to become code: in a process of its own, because builtins are replaced."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

RUN = """
import sys
from auditor.grammar import lowered
from auditor.run.recorder.sources import Sources
folder, script = sys.argv[1:]
sources = Sources(folder, 1 / 1024, lambda *what: print("scaled", *what), lowered)
sources.install()
sys.path.insert(0, folder)
names = {"__name__": "__main__", "__file__": script}
exec(sources.compiled(open(script, "rb").read(), script), names)
"""


def run(folder: Path, source: str, **modules: str) -> str:
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    script = folder / "train_gpt.py"
    script.write_text(textwrap.dedent(source))
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


NEWER = "a = {'b': 1}\nprint(f'{a['b']} is {', '.join('xy')}')\n"


def test_a_newer_script_and_a_newer_module_run(tmp_path):
    assert run(tmp_path, "import helper\n" + NEWER, helper=NEWER) == "1 is x, y\n" * 2


@pytest.mark.parametrize(
    "packing",
    ["exec({text!r})", "exec(compile({text!r}, '<string>', 'exec'))", "exec({text!r}.encode())"],
)
def test_what_a_script_unpacks_runs_and_is_scaled(tmp_path, packing):
    said = run(tmp_path, packing.format(text=NEWER + "print(1 << 22)\n"))
    assert said == "scaled train_gpt.py (layer 1) 3 4194304 4096\n1 is x, y\n4096\n"


def test_layers_in_layers_have_names_and_their_source_can_be_asked_for(tmp_path):
    inner = "import inspect\ndef f():\n    return 1\n"
    inner += "print(inspect.getsource(f), f.__code__.co_filename)"
    said = run(tmp_path, f"exec({f'exec({inner!r})'!r})")
    assert said.startswith("def f():\n    return 1\n")
    assert said.rstrip().endswith("train_gpt.py (layer 2)")


def test_names_and_future_features_are_the_callers(tmp_path):
    source = """
    from __future__ import annotations
    outer = 1
    def body():
        inner = 2
        exec("print(outer + inner)\\ndef f(x: Nowhere): pass")
        names = {"outer": 5}
        exec("outer += 1", names)
        print(names["outer"])
        exec(compile("def g(x: Nowhere): pass", "<string>", "exec"))
    body()
    """
    assert run(tmp_path, source) == "3\n6\n"


def test_libraries_compile_as_before(tmp_path):
    source = """
    import collections, dataclasses, ast
    print(collections.namedtuple("P", "x")(4194303).x - 4094)
    @dataclasses.dataclass
    class C:
        x: int = 3
    import sys
    sys.path.insert(0, LIBRARY)
    import library
    print(C().x, type(compile("x", "f", "eval")).__name__, type(ast.parse("1")).__name__)
    """
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "library.py").write_text(
        "from __future__ import annotations\n"
        "exec('def f(x: Nowhere): return 1')\nassert f(2) == 1\n"
    )
    (tmp_path / "folder").mkdir()
    source = source.replace("LIBRARY", repr(str(tmp_path / "elsewhere")))
    assert run(tmp_path / "folder", source) == "4190209\n3 code Module\n"


def test_an_error_is_the_scripts_own(tmp_path):
    source = """
    try:
        exec("x = = 1")
    except SyntaxError as error:
        print(error.lineno)
    """
    assert run(tmp_path, source) == "1\n"
