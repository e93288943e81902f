import ast
import base64
import bz2
import gzip
import lzma
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.inspect.source import MAX_LAYERS, Sources, read_sources
from auditor.inspect.unpack import MAX_LAYER_BYTES, layers
from auditor.submission import File, Submission

INNER = "def score(tokens):\n    return len(tokens)\n" * 8
RAW = [{"id": lzma.FILTER_LZMA2}]


def b85(data: bytes) -> str:
    return base64.b85encode(data).decode()


LZMA = b85(lzma.compress(INNER.encode()))
RAW_LZMA = b85(lzma.compress(INNER.encode(), lzma.FORMAT_RAW, filters=RAW))
STUBS = {
    "one line": f"import lzma as L,base64 as B\nexec(L.decompress(B.b85decode({LZMA!r})))",
    "raw": "import lzma as L,base64 as B\n"
    f"exec(L.decompress(B.b85decode({RAW_LZMA!r}),format=L.FORMAT_RAW,"
    "filters=[{'id':L.FILTER_LZMA2,'preset':9|L.PRESET_EXTREME}]).decode('utf-8'))",
    "from imports": "from base64 import b85decode as d\nfrom zlib import decompress\n"
    f"exec(decompress(d({b85(zlib.compress(INNER.encode()))!r})).decode())",
    "names": "import base64, gzip\n"
    f"blob = {base64.b64encode(gzip.compress(INNER.encode())).decode()!r}\n"
    "source = gzip.decompress(base64.b64decode(blob)).decode()\n"
    "exec(compile(source, 'train_gpt.py', 'exec'))",
    "import calls": "exec(__import__('bz2').decompress(__import__('base64').a85decode("
    f"{base64.a85encode(bz2.compress(INNER.encode())).decode()!r})))",
    "brotli": "import brotli, base64\n"
    f"exec(brotli.decompress(base64.b85decode({b85(brotli.compress(INNER.encode()))!r})))",
    "zstandard": "import zstandard, base64\nexec(zstandard.ZstdDecompressor().decompress("
    f"base64.b85decode({b85(zstandard.compress(INNER.encode()))!r})))",
    "concatenated": "import lzma, base64\n"
    f"exec(lzma.decompress(base64.b85decode({LZMA[:50]!r} + {LZMA[50:]!r})))",
    "launcher": "import os, lzma, base64\nos.environ.setdefault('TTT_ENABLED', '1')\n"
    f"exec(lzma.decompress(base64.b85decode({LZMA!r})))",
    "run from a file": "import lzma, base64, tempfile, os, runpy\n"
    f"code = lzma.decompress(base64.b85decode({LZMA!r}))\n"
    "path = os.path.join(tempfile.mkdtemp(), 'train_gpt.py')\nopen(path, 'wb').write(code)\n"
    "runpy.run_path(path, run_name='__main__')",
}


def read(**files: str | bytes) -> Sources:
    encoded = {
        name.replace("_py", ".py"): data.encode() if isinstance(data, str) else data
        for name, data in files.items()
    }
    made = {name: File(data, "0" * 64) for name, data in encoded.items()}
    return read_sources(Submission("record", made))


@pytest.mark.parametrize("name", STUBS)
def test_a_stub_is_unpacked_and_its_layer_is_named(name):
    sources = read(train_gpt_py=STUBS[name])
    assert [module.path for module in sources.modules] == ["train_gpt.py", "train_gpt.py (layer 1)"]
    assert "\n".join(sources.modules[1].lines) == INNER.rstrip()
    assert sources.unread == ()


def test_several_files_in_one_string_are_parts():
    both = f"{INNER}#cut#{INNER.replace('score', 'other')}"
    stub = (
        "import lzma, base64, runpy\n"
        f"text = lzma.decompress(base64.b85decode({b85(lzma.compress(both.encode()))!r}))\n"
        "for part in text.decode().split('#cut#'):\n    open('x', 'w').write(part)\n"
        "runpy.run_path('x')"
    )
    paths = [module.path for module in read(train_gpt_py=stub).modules]
    assert "train_gpt.py (layer 1, part 3)" in paths


def nested(times: int) -> str:
    source = INNER
    for _ in range(times):
        packed = b85(lzma.compress(source.encode()))
        source = f"import lzma, base64\nexec(lzma.decompress(base64.b85decode({packed!r})))\n"
    return source


@pytest.mark.parametrize("times", [2, MAX_LAYERS])
def test_layers_in_layers_are_read(times):
    sources = read(train_gpt_py=nested(times))
    assert len(sources.modules) == 1 + times
    assert sources.unread == ()


def test_too_many_layers_are_said():
    (said,) = read(train_gpt_py=nested(MAX_LAYERS + 1)).unread
    assert said == f"train_gpt.py (layer {MAX_LAYERS}): it is packed more than {MAX_LAYERS} times"


def test_helpers_that_only_a_layer_imports_are_read():
    inner = "import helper\n" + INNER
    stub = (
        "import lzma, base64\n"
        f"exec(lzma.decompress(base64.b85decode({b85(lzma.compress(inner.encode()))!r})))"
    )
    sources = read(train_gpt_py=stub, helper_py="x = 1\n")
    assert [module.path for module in sources.modules][-1] == "helper.py"


@pytest.mark.parametrize(
    "stub",
    [
        "import lzma, base64\nexec(lzma.decompress(base64.b85decode(open('x').read())))",
        "import lzma, base64\nexec(lzma.decompress(base64.b85decode('no such data')))",
        f"import lzma, base64\nexec(lzma.decompress(base64.b85decode({b85(b'x' * 999)!r})))",
        f"import lzma, base64\nexec(lzma.decompress(base64.b85decode(secret({LZMA!r}))))",
    ],
)
def test_what_cannot_be_unpacked_stays_unread(stub):
    (said,) = read(train_gpt_py=stub).unread
    assert said == "train_gpt.py: it is packed, and of what it unpacks nothing came out"


@pytest.mark.parametrize(
    "call",
    [
        f"zlib.decompress(base64.b85decode({b85(zlib.compress(bytes(64 * 2**20)))!r}))",
        f"lzma.decompress(base64.b85decode({b85(lzma.compress(bytes(64 * 2**20)))!r}))",
        f"bz2.decompress(base64.b85decode({b85(bz2.compress(bytes(64 * 2**20)))!r}))",
        "lzma.decompress(base64.b85decode('00'), lzma.FORMAT_RAW, None, "
        "[{'id': lzma.FILTER_LZMA2, 'dict_size': 1 << 31}])",
        "base64.b85decode('0' * 10**12)",
    ],
    ids=["zlib", "lzma", "bz2", "dictionary", "repeat"],
)
def test_a_bomb_gives_nothing_and_takes_little(call):
    assert layers(ast.parse(f"import base64, bz2, lzma, zlib\nexec({call})")) == []
    assert MAX_LAYER_BYTES < 2**23


@settings(max_examples=50, deadline=None)
@given(place=st.integers(0, 10**6), letter=st.characters(codec="ascii"))
def test_damaged_stubs_are_read_or_said(place, letter):
    stub = STUBS["one line"]
    place %= len(stub)
    sources = read(train_gpt_py=stub[:place] + letter + stub[place + 1 :])
    assert sources.unread or len(sources.modules) >= 1
