"""The linker: what of the firmware a pole needs, as one module.

The sources are written for readers: many small modules, a name for every number. A board pays for each name in each
module, so what ``main.py`` reaches is joined, constants are put where they are used, and what nobody on the pole calls
is left out, what it only notes for others and defaults that every caller gives included. No statement that is left is
changed.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sos_contract.errors import SafezoneError

PACKAGES = ("sos_pole", "sos_wire")
ENTRIES = ("build", "main")  # of main.py: what is needed is what they reach
HARDWARE = (
    "main",
    "sos_pole.board",
    "sos_pole.ports",
)  # all others touch our own objects, builtin types and hashes only
Key = tuple[str, str]  # module, name at its top level
# Methods that only agents call, of a name that what a pole says has too, so that it looks as if a pole called them.
AGENTS_ONLY = (("Progress", "pack"), ("Service", "pack"), ("Command", "pack"))
_FIRST = {("main", name) for name in ENTRIES}
_SHORT = 8  # bytes: longer ones are better computed once
_FOLDED = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Tuple, ast.expr_context)


@dataclass(eq=False)
class Module:
    """One source. ``names``: what a global name in it stands for; ``aliases``: names that are modules of ours."""

    name: str
    body: list[ast.stmt] = field(default_factory=list)
    names: dict[str, Key] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def needs(self) -> list[str]:
        """Modules of ours that have to be there before it, in the same order each time."""
        owners = {module for module, _ in self.names.values()} | set(self.aliases.values())
        return sorted(owners - {self.name, ""})


def link(sources: Mapping[str, str]) -> ast.Module:
    """The one module. ``sources``: dotted module name -> source."""
    modules = {name: _read(name, source) for name, source in sources.items()}
    linker = _Linker(modules)
    for name in graphlib.TopologicalSorter({name: one.needs() for name, one in modules.items()}).static_order():
        linker.add(modules[name])
    module = ast.Module(_reached(linker.statements), [])
    read = {
        node.attr for node in ast.walk(module) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    _Unread(read).visit(module)
    _drop_defaults(module)
    return ast.fix_missing_locations(module)


def foreign(sources: Mapping[str, str]) -> set[str]:
    """Names of attributes that may be somebody else's: the hardware's, the builtin types', other modules'."""
    found = {name for kind in (bytes, bytearray, str, int, tuple, list, dict, set, OSError) for name in dir(kind)}
    found.update(dir(hashlib.sha256()))
    for name, source in sources.items():
        tree = ast.parse(source, name)
        others = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                if owner in others or (name in HARDWARE and not node.attr.startswith("_")):
                    found.add(node.attr)
    return found


def _read(name: str, source: str) -> Module:
    module = Module(name)
    for node in ast.parse(source, name).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in PACKAGES:
            for alias in node.names:
                if node.module in PACKAGES:
                    module.aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                else:
                    module.names[alias.asname or alias.name] = (str(node.module), alias.name)
        elif not _unread(node):
            module.body.append(node)
            owner = "" if isinstance(node, ast.Import | ast.ImportFrom) else name
            module.names.update((defined, (owner, defined)) for defined in _defined(node))
    return module


def _unread(node: ast.stmt) -> bool:
    """Docstrings, assertions, and what only type checkers or a start from the command line reads."""
    return isinstance(node, ast.If | ast.Assert) or _is_docstring(node)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _does_something(node: ast.stmt) -> bool:
    """Whether MicroPython does anything with that part of a class or function: not for docstrings, slots, and methods
    that subclasses have to provide."""
    if isinstance(node, ast.FunctionDef):
        return not isinstance(node.body[-1], ast.Raise) or ast.unparse(node.body[-1]) != "raise NotImplementedError"
    slots = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__"
    return not slots and not _is_docstring(node)


def _defined(node: ast.stmt) -> list[str]:
    """Names that a statement at the top level defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    raise SafezoneError(f"firmware, line {node.lineno}: cannot link {type(node).__name__} at the top level of a module")


class _Linker(ast.NodeTransformer):
    """Takes modules, each after those that it needs. ``statements``: theirs, names resolved, constants in place."""

    def __init__(self, modules: Mapping[str, Module]) -> None:
        self.statements: list[ast.stmt] = []
        self._modules = modules
        self._constants: dict[Key, Any] = {}
        self._names: dict[Key, str] = {}
        self._taken = set(ENTRIES)
        self._module = Module("")
        self._locals: list[set[str]] = []

    def add(self, module: Module) -> None:
        """Link that module."""
        self._module = module
        for name, key in module.names.items():
            if key[0] in ("", module.name):
                self._name(key, name)
        for node in module.body:
            names = _defined(node)
            linked = self.visit(node)
            assert isinstance(linked, ast.stmt)
            if not self._fold(names, linked):
                self.statements.append(linked)

    def _name(self, key: Key, name: str) -> None:
        """Its name in the image: its own, unless another module's has it already."""
        if key in self._names:
            return
        if name in self._taken and key not in _FIRST:
            name = f"{name}_{key[0].rsplit('.', 1)[-1]}"
        assert name not in self._taken or key in _FIRST, name
        self._taken.add(name)
        self._names[key] = name

    def _fold(self, names: list[str], node: ast.stmt) -> bool:
        """Remember constants: numbers, texts and bytes that are assigned once, alone or several in one statement."""
        if not isinstance(node, ast.Assign) or not all(isinstance(part, _FOLDED) for part in ast.walk(node.value)):
            return False
        value = eval(compile(ast.fix_missing_locations(ast.Expression(node.value)), "constant", "eval"), {})
        values = [value] if isinstance(node.targets[0], ast.Name) else list(value)
        if not all(isinstance(one, int | str) or (isinstance(one, bytes) and len(one) <= _SHORT) for one in values):
            return False
        self._constants.update(((self._module.name, name), one) for name, one in zip(names, values, strict=True))
        return True

    def _resolved(self, key: Key, node: ast.expr) -> ast.expr:
        while key not in self._names:  # imported by the module from which it is imported
            key = self._modules[key[0]].names[key[1]]
        if key in self._constants:
            return ast.Constant(self._constants[key])
        assert not any(self._names[key] in local for local in self._locals), key
        return ast.copy_location(ast.Name(self._names[key], getattr(node, "ctx", ast.Load())), node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        key = self._module.names.get(node.id)
        if key is None or any(node.id in local for local in self._locals):
            return node
        return self._resolved(key, node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id in self._module.aliases:
            return self._resolved((self._module.aliases[node.value.id], node.attr), node)
        node.value = self.visit(node.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        if not self._locals:
            node.name = self._names[self._module.name, node.name]
        local = {argument.arg for argument in node.args.args}
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                local.add(part.id)
            elif isinstance(part, ast.Import | ast.ImportFrom):
                local.update(_defined(part))
            elif isinstance(part, ast.arg):
                part.annotation = None
        node.returns = None
        self._locals.append(local)
        node.body = [self.visit(part) for part in node.body if _does_something(part)] or [ast.Pass()]
        self._locals.pop()
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None:
            return ast.Pass()
        assigned = self.visit(ast.copy_location(ast.Assign([node.target], node.value), node))
        assert isinstance(assigned, ast.stmt)
        return assigned

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        theirs = {method for name, method in AGENTS_ONLY if name == node.name}
        node.body = [part for part in node.body if not (isinstance(part, ast.FunctionDef) and part.name in theirs)]
        node.name = self._names[self._module.name, node.name]
        node.bases = [self.visit(base) for base in node.bases]
        self._locals.append(set())  # its methods keep their names
        node.body = [self.visit(part) for part in node.body if _does_something(part)] or [ast.Pass()]
        self._locals.pop()
        return node


def _reached(statements: list[ast.stmt]) -> list[ast.stmt]:
    """What the entries reach. A method is reached when anybody reached asks for an attribute of its name."""
    found = set(ENTRIES)
    size = 0
    while size < len(found):  # ends: names are finite
        size = len(found)
        for node in statements:
            if not found.isdisjoint(_defined(node)):
                for part in _parts(node, found):
                    found |= _used(part)
    for node in statements:
        if isinstance(node, ast.ClassDef):
            node.body = [part for part in node.body if part in _parts(node, found)] or [ast.Pass()]
    return [node for node in statements if not found.isdisjoint(_defined(node))]


class _Unread(ast.NodeTransformer):
    """Leaves out what is only noted for others: attributes of one's own that nobody on a pole reads."""

    def __init__(self, read: set[str]) -> None:
        self._read = read

    def _kept(self, node: ast.stmt, target: ast.expr, value: ast.expr) -> ast.stmt:
        own = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
        if not own or getattr(target, "attr", "") in self._read:
            return node
        return node if any(isinstance(part, ast.Call) for part in ast.walk(value)) else ast.Pass()

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        return self._kept(node, node.targets[0], node.value) if len(node.targets) == 1 else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        return self._kept(node, node.target, node.value)


def _drop_defaults(module: ast.Module) -> None:
    """Leave out the defaults of parameters that every call in the module gives by their place."""
    given: dict[str, int] = {}
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    bases = {base.id for node in classes for base in node.bases if isinstance(base, ast.Name)}
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
            plain = not node.keywords and not any(isinstance(one, ast.Starred) for one in node.args)
            given[name] = min(given.get(name, len(node.args)), len(node.args) if plain else 0)
    owners: list[ast.Module | ast.ClassDef] = [module, *classes]
    for owner in owners:
        own = int(isinstance(owner, ast.ClassDef))  # "self" is not written in a call
        for node in owner.body:
            if isinstance(node, ast.FunctionDef):
                name = owner.name if isinstance(owner, ast.ClassDef) and node.name == "__init__" else node.name
                first = len(node.args.args) - own - len(node.args.defaults)
                del node.args.defaults[: 0 if name in bases else max(0, given.get(name, 0) - first)]


def _parts(node: ast.stmt, found: set[str]) -> list[ast.AST]:
    """The statement; of a class what stands in it, without methods that nobody calls."""
    if not isinstance(node, ast.ClassDef):
        return [node]
    called = [
        part
        for part in node.body
        if not isinstance(part, ast.FunctionDef) or part.name.startswith("__") or f".{part.name}" in found
    ]
    return [*node.bases, *called]


@functools.cache
def _used(part: ast.AST) -> frozenset[str]:
    """Names, and attributes with a dot before them."""
    names = {node.id for node in ast.walk(part) if isinstance(node, ast.Name)}
    return frozenset(names | {f".{node.attr}" for node in ast.walk(part) if isinstance(node, ast.Attribute)})
