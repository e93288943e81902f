import ast
import gc
import weakref

import pytest

from auditor.inspect import source
from auditor.inspect.source import read_sources
from auditor.inspect.tree import walk
from tests.auditor.inspect.records import submission


def test_imports_are_followed_and_other_scripts_are_not():
    files = {
        "train_gpt.py": "import helper\nfrom lib import part\nopen('kernel.c')\n",
        "helper.py": "x = 1\n",
        "lib/part.py": "y = 2\n",
        "kernel.c": "int main;",
        "ablation.py": "z = 3\n",
    }
    sources = read_sources(submission(files))
    assert [module.path for module in sources.modules] == [
        "train_gpt.py",
        "helper.py",
        "lib/part.py",
    ]
    assert sources.unread == ("kernel.c: compiled code is not read",)


@pytest.mark.parametrize(
    "text",
    [
        b"x = 1\0",
        b"(" * 50_000,
        b"x = " + b"-" * 50_000 + b"1",
        b"x = " + b"+".join([b"1"] * 50_000),
        b"x = " + b"a." * 20_000 + b"b",
        b"def broken(:",
        b"\xff\xfe\x00",
        b"x = '" + b"a" * 300_000 + b"'",
        b"if 1:\n" + b"".join(b" " * i + b"if 1:\n" for i in range(1, 150)) + b" " * 200 + b"pass",
    ],
    ids=["null", "brackets", "unary", "sum", "attributes", "syntax", "encoding", "line", "blocks"],
)
def test_hostile_source_is_unread_with_a_reason(text):
    sources = read_sources(submission({"train_gpt.py": text}))
    assert sources.modules == ()
    assert sources.unread[0].startswith("train_gpt.py: ")


def test_without_a_script_the_source_that_a_log_prints_is_read():
    printed = "import helper\ndef main():\n    print('x')\nmain()\n"
    text = printed + "=" * 100 + "\nRunning Python 3.12\nval_loss: 1\n"
    (module,) = read_sources(submission({"train.log": text, "notes.txt": "x = 1\n"})).modules
    assert (module.path, module.text(3)) == ("train.log", "print('x')")
    for other in ("=" * 100 + printed, printed, "no source: 1\n" + text, "x = 1\n" + "=" * 100):
        assert read_sources(submission({"train.log": other})).modules == ()
    shipped = {"train_gpt.py": "y = 2\n", "train.log": text}
    assert [one.path for one in read_sources(submission(shipped)).modules] == ["train_gpt.py"]


def test_a_packed_script_is_unread():
    text = "import lzma, base64\nexec(lzma.decompress(base64.b85decode('abc')))\n"
    assert "packed" in read_sources(submission({"train_gpt.py": text})).unread[0]


def test_evaluation_mode_of_a_model_is_no_packing():
    text = "import zlib\nmodel.eval()\nzlib.decompress(blob)\n"
    assert read_sources(submission({"train_gpt.py": text})).unread == ()


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("#include <cstdint>\nint f() { return 1; }", True),
        ("__global__ void f(int* x) { x[0] = 1; }", True),
        ("not code: we #include a table, and a __global__ variable", False),
    ],
)
def test_a_helper_in_a_text_of_the_script_is_unread(text, unread):
    sources = read_sources(submission({"train_gpt.py": f"x = 1\nSOURCE = {text!r}\n"}))
    said = "train_gpt.py: compiled code in the text of line 2 is not read"
    assert sources.unread == ((said,) if unread else ())


def test_a_module_that_was_searched_goes_with_its_last_user():
    module = source._parsed("a.py", b"def f(x):\n    return x + 1\n")
    assert isinstance(module, source.Module)
    assert [node.name for node, _ in module.functions] == ["f"]
    assert len(module.of(ast.Name)) == 1
    walk(module.tree)
    gone = weakref.ref(module.tree)
    gc.disable()
    try:
        del module
        assert gone() is None
    finally:
        gc.enable()
