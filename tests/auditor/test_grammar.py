import ast
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.grammar import NotThisGrammar, lowered
from auditor.inspect.source import Module, parse

NEW = {
    "own quotes": "x = f'{a['b']} and {c[\"d\"]}'\n",
    "method": 'x = f"{", ".join(names)}: {n:>{width}}"\n',
    "nested": "x = f'{f'{f'{1}'}'}'\n",
    "backslash": "x = f'{'\\n'.join(lines)}'\n",
    "raw": "x = rf'\\d{a['b']}'\n",
    "ends in a quote": "x = f'{a['b']}\"'\n",
    "call": "log(f'{' '.join(f'{k}={v}' for k, v in d.items())} done')\n",
    "triple": 'x = f"""{a["b"]} "quoted" {c}"""\n',
    "doubled braces": "x = f'{{{a['b']}}}'\n",
    "side by side": "x = ('{a}' f'{a['b']}'  # both\n\"\\N{BULLET}{}\" r'')\n",
    "tuple": "x = f'{a['b'], c[\"d\"]}'\n",
    "its own text": "x = f'{n=}{a['b']}'\n",
    "comment": "x = f'{n # the number\n}'\n",
    "conversion and width": "x = f'{a['b']!r:>{width}}'\n",
    "no space before": "x = 1 if n else'a'f'{a['b']}'\n",
    "statements": "x = f'{a['b']}'\n'{}'\n",
}
VALUES = {
    "own quotes": "1 and 2",
    "method": "p, q:     3",
    "nested": "1",
    "backslash": "s\nt",
    "raw": "\\d1",
    "ends in a quote": '1"',
    "triple": '1 "quoted" 4',
    "doubled braces": "{1}",
    "tuple": "(1, 2)",
    "its own text": "n=31",
    "comment": "3",
    "conversion and width": "    1",
    "statements": "1",
}
OLD = (
    "# it's a comment with a f'quote\nx = 'plain {not} a field'\ny = b'\\'' + rb'\\d'\n"
    'z = f\'{x!r:>{10}} {{literal}}\' + f"""\n{x}\n"""\nself.f\'x\' if 0 else 1\n'
)


@pytest.mark.parametrize("name", NEW)
def test_newer_strings_parse_and_keep_their_line(name):
    source = "first = 1\n" + NEW[name] + "last = 3\n"
    tree = ast.parse(lowered(source))
    assert [node.lineno for node in tree.body][:2] == [1, 2]
    assert tree.body[-1].lineno == source.count("\n")
    module = parse("x.py", source.encode())
    assert isinstance(module, Module)
    assert module.text(2) == NEW[name].splitlines()[0].strip()


@pytest.mark.parametrize("name", VALUES)
def test_newer_strings_have_their_value(name):
    names = {"a": {"b": 1}, "c": {"d": 2}, "names": ["p", "q"], "n": 3, "width": 5}
    names["lines"] = ["s", "t"]
    if name == "triple":
        names["c"] = 4
    exec(lowered(NEW[name]), names)
    assert names["x"] == VALUES[name]


def test_arguments_are_evaluated_in_order_and_once():
    seen: list[str] = []

    def say(word):
        seen.append(word)
        return word

    text = eval(lowered("f'{say('a'):{say('>4')}}' f'{say('b')}'"), {"say": say})
    assert (text, seen) == ("   ab", ["a", ">4", "b"])


def test_the_names_in_a_newer_string_are_the_same():
    tree = ast.parse(lowered(NEW["call"]))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert names == {"log", "k", "v", "d"}


def test_an_older_source_stays_as_it_is():
    source = OLD.replace("self.f'x' if 0 else 1\n", "")
    assert lowered(source) == source
    assert ast.dump(ast.parse(lowered(source))) == ast.dump(ast.parse(source))


@pytest.mark.parametrize("source", ["f'", "f'{", "f'{'", "'", "f'''{x", "f'{f'{f'"])
def test_what_does_not_end_is_left_alone(source):
    with pytest.raises(NotThisGrammar):
        lowered(source)
    assert isinstance(parse("x.py", source.encode()), str)


def test_deep_nesting_ends():
    with pytest.raises(NotThisGrammar):
        lowered("f'{" * 200)


@given(st.text(alphabet="fr'\"{}\\#\n :!xb", max_size=60))
def test_any_text_is_lowered_or_refused(text):
    try:
        result = lowered(text)
    except NotThisGrammar:
        return
    assert result.count("\n") == text.count("\n")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs a Python that has the grammar")
@pytest.mark.parametrize("name", NEW)
def test_it_is_the_newer_grammar_indeed(name):
    ast.parse(NEW[name])
