"""Every docstring of a function begins with what the function does: a verb in the third person."""

import ast

from helpers.places import ROOT


def functions(tree):
    """Those that are called, and not read as a property."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not any("property" in ast.unparse(d) for d in node.decorator_list):
            yield node


def test_docstrings_of_functions_begin_with_a_verb():
    wrong = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in functions(ast.parse(path.read_text())):
            text = ast.get_docstring(node)
            word = text.split()[0].rstrip(",:") if text else "Does"
            if not (word.isalpha() and word.istitle() and word.endswith("s") and not word.endswith("ss")):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {word}")
    assert wrong == []
