"""The stripper: makes a linked module small for a board, which pays for each letter of a name in flash and in RAM.

Names of our own become short ones; what was renamed is told, so that a traceback from a pole can be read. Nothing else
of what the module does changes.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import string
from collections import Counter
from collections.abc import Collection, Iterator

ONE_BYTE = 125  # names whose number takes one byte in the bytecode: 128, less what the interpreter puts before ours


def strip(module: ast.Module, keep: Collection[str]) -> dict[str, str]:
    """Make it small in place. ``keep``: names that others know. Returns short name -> name, parameters left out."""
    _share_texts(module)
    names = _shorten(module, keep)
    _number(module)
    ast.fix_missing_locations(module)
    return names


def _share_texts(module: ast.Module) -> None:
    """A constant tuple holds its texts once more, beside the names that there are anyway. Made at the start it shares
    them."""
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            texts = node.value.elts
            if all(isinstance(text, ast.Constant) and isinstance(text.value, str) for text in texts):
                node.value = ast.Call(ast.Name("tuple", ast.Load()), [ast.List(texts, ast.Load())], [])


def _number(module: ast.Module) -> None:
    """Names and texts are numbered as they appear, and the first take one byte a use: those that are used most are put
    first, behind a jump, where nothing is done with them and no code is made of them."""
    local = {part.id for node in module.body for part in _locals(node)}
    counts: Counter[str] = Counter()
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            counts[node.attr] += 1
        elif isinstance(node, ast.Name) and node.id not in local:
            counts[node.id] += 1
        elif isinstance(node, ast.FunctionDef):
            counts[node.name] += 2  # in its class, and in itself
        elif isinstance(node, ast.arg):
            counts[node.arg] += 1
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            counts[node.value] += 1
    often = [ast.Attribute(ast.Name("_", ast.Load()), name, ast.Load()) for name, _ in counts.most_common(ONE_BYTE)]
    module.body.insert(0, ast.While(ast.Constant(True), [ast.Break(), *map(ast.Expr, often)], []))


def _locals(node: ast.stmt) -> Iterator[ast.Name]:
    for function in ast.walk(node):
        if isinstance(function, ast.FunctionDef):
            for part in ast.walk(function):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    yield part


def _shorten(module: ast.Module, keep: Collection[str]) -> dict[str, str]:
    """What our classes define, what stands at the top level, and parameters."""
    counts = Counter(_identifiers(module))
    spare = _spare(set(counts))
    ours = {name for node in module.body for name in _top(node)} | set(_attributes(module))
    others = {*dir(builtins), *(node.name for node in ast.walk(module) if isinstance(node, ast.alias)), *keep}
    renamed = {name: next(spare) for name, _ in counts.most_common() if name in ours - others}
    keywords = {node.arg for node in ast.walk(module) if isinstance(node, ast.keyword)}
    parameters: list[str] = []
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            _rename_parameters(node, keywords, parameters, spare)
    for node in ast.walk(module):
        if isinstance(node, ast.Name):
            node.id = renamed.get(node.id, node.id)
        elif isinstance(node, ast.Attribute):
            node.attr = renamed.get(node.attr, node.attr)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.name = renamed.get(node.name, node.name)
    return {short: name for name, short in renamed.items()}


def _attributes(module: ast.Module) -> Iterator[str]:
    """Attributes that our classes define."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield from (part.name for part in node.body if isinstance(part, ast.FunctionDef))
            yield from (name for part in node.body for name in _top(part))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _top(node: ast.stmt) -> Iterator[str]:
    """What a statement at the top level defines, imports excepted."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name))


def _identifiers(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        for kind in ("id", "attr", "name", "arg"):
            name = getattr(node, kind, None)
            if isinstance(name, str):
                yield name


def _spare(taken: set[str]) -> Iterator[str]:
    """Names that nobody has, the shortest first."""
    letters = string.ascii_letters
    for length in (1, 2):
        for name in map("".join, itertools.product(letters, repeat=length)):
            if name not in taken and name not in ("as", "if", "in", "is", "or"):
                yield name


def _rename_parameters(
    node: ast.FunctionDef, keywords: set[str | None], names: list[str], spare: Iterator[str]
) -> None:
    """The first of each function gets the same name, the second the next: ``names``, made as they are needed."""
    own = {}
    for place, argument in enumerate(node.args.args):
        if place == len(names):
            names.append(next(spare))
        if argument.arg not in keywords:
            own[argument.arg] = argument.arg = names[place]
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            part.id = own.get(part.id, part.id)
