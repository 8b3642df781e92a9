"""The source text of kernels, taken from their files without importing them."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages

import vispec.kernels.native
from vispec.kernels.native.text import cpp


def kernel_source(module: str, names: Iterable[str]) -> str:
    """The top-level definitions `names` of a module and those of the same file that they use, in the file's order.

    What registers something with a chosen definition (`op.register_autograd(...)`, `@op.register_fake`) belongs to it.
    Raises KeyError for a name that the file does not define."""
    return join([segment(definitions(module)[0], node) for node in needed(module, names)])


@cache
def kernel_names() -> frozenset[str]:
    """Functions and classes that an emitted file may hold besides its nets and the model."""
    found = (module.name for module in walk_packages(vispec.kernels.__path__, "vispec.kernels."))
    return frozenset(name for module in found for name in definitions(module)[1])


def needed(module: str, names: Iterable[str]) -> list[ast.stmt]:
    """The definitions of `names` and of all that they use from the same file, in its order."""
    _, table, registrations = definitions(module)
    chosen: dict[int, ast.stmt] = {}
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in table:
            raise KeyError(f"{module} does not define {name!r}")
        for node in (table[name], *(node for owner, node in registrations if owner == name)):
            if id(node) not in chosen:
                chosen[id(node)] = node
                pending += sorted(names_in(node) & table.keys())
    return sorted(chosen.values(), key=lambda node: node.lineno)


@cache
def names_in(definition: ast.stmt) -> frozenset[str]:
    """All names in a definition, which `definitions` keeps."""
    return frozenset(part.id for part in ast.walk(definition) if isinstance(part, ast.Name))


def with_borrowed(kernels: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The kernels, and those of other files that their definitions use, as (module, name)."""
    found = dict.fromkeys(kernels)
    pending = list(found)
    while pending:
        module, name = pending.pop()
        used = frozenset[str]().union(*map(names_in, needed(module, [name])))
        more = [(origin, each) for each, origin in imports(module).items() if each in used and (origin, each) not in found]
        found |= dict.fromkeys(more)
        pending += more
    return list(found)


@cache
def imports(module: str) -> dict[str, str]:
    """What a kernel's file takes from other files of kernels, by import or by `name = kernel(module, name)`: name → module."""
    taken = [
        node
        for node in statements(module)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vispec.kernels.")
    ]
    later = [found for node in statements(module) if (found := taken_later(node))]
    return {alias.name: str(node.module) for node in taken for alias in node.names} | {name: origin for origin, name in later}


def taken_later(node: ast.stmt) -> tuple[str, str] | None:
    """Module and name of `name = kernel(module, name)`: a kernel of another file, imported when it is first used."""
    match node:
        case ast.Assign(value=ast.Call(func=ast.Name(id="kernel"), args=[ast.Constant(str(module)), ast.Constant(str(name))])):
            return module, name
    return None


@cache
def definitions(module: str) -> tuple[str, dict[str, ast.stmt], tuple[tuple[str, ast.stmt], ...]]:
    """A module's text; its top-level functions, classes and constants by name; and its registrations with their owners."""
    table: dict[str, ast.stmt] = {}
    registrations: list[tuple[str, ast.stmt]] = []
    for node in statements(module):
        owner = registered_with(node)
        if owner is not None and owner not in ("torch", "staticmethod", "cache"):
            registrations.append((owner, node))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            table[node.name] = node
        elif taken_later(node) or carried(node):
            continue
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            table |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return text_of(module), table, tuple((owner if owner in table else given_to(node), node) for owner, node in registrations)


def given_to(node: ast.stmt) -> str:
    """`f` of a statement `OF_ANOTHER_FILE.append(f)`."""
    match node:
        case ast.Expr(value=ast.Call(args=[ast.Name(id=name)])):
            return name
    return ""


def carried(node: ast.stmt) -> tuple[str, list[str]] | None:
    """Name and files of `NAME = cpp(file, ...)`: C++ text, which emitted modules carry behind their class."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="cpp"), args=args)):
            return name, [file.value for file in args if isinstance(file, ast.Constant) and isinstance(file.value, str)]
    return None


def registered_with(node: ast.stmt) -> str | None:
    """`op` of a statement `op.register(...)`, or of a definition decorated with `@op.register`."""
    calls = [node.value] if isinstance(node, ast.Expr) else getattr(node, "decorator_list", [])
    for call in calls:
        target = call.func if isinstance(call, ast.Call) else call
        while isinstance(target, ast.Attribute):
            target = target.value
        if isinstance(target, ast.Name):
            return target.id
    return None


@cache
def text_of(module: str) -> str:
    """The text of its file."""
    return path_of(module).read_text(encoding="utf-8")


@cache
def statements(module: str) -> list[ast.stmt]:
    """The top-level statements of its file, the same objects each time."""
    return ast.parse(text_of(module)).body


@cache
def path_of(module: str) -> Path:
    """The module's file; imports the packages around it, which hold no torch, but not the module."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise KeyError(f"there is no module {module}")
    return Path(spec.origin)


def segment(text: str, node: ast.stmt) -> str:
    """The lines of a definition, its decorators and the comment lines right above it included."""
    lines = text.splitlines()
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])


def join(segments: list[str]) -> str:
    """Two blank lines around functions and classes, none between constants."""
    text = ""
    for before, after in zip(["", *segments], segments, strict=False):
        close = before and not is_block(before) and not is_block(after)
        text += ("" if not before else "\n" if close else "\n\n\n") + after
    return text + "\n"


def is_block(text: str) -> bool:
    line = next(line for line in text.splitlines() if not line.startswith("#"))
    return line.startswith(("def ", "class ", "@"))


def native_kernels(kernels: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The kernels in C++ that take over from some of these, or from what they use: `LIST.append(kernel)`, LIST being theirs."""
    read = {
        (module, part) for module, name in with_borrowed(kernels) for node in needed(module, [name]) for part in names_in(node)
    }
    files = [module.name for module in walk_packages(vispec.kernels.native.__path__, "vispec.kernels.native.")]
    found = [(file, owner, given_to(node)) for file in files for owner, node in appended(file)]
    return [(file, kernel) for file, owner, kernel in found if (imports(file)[owner], owner) in read]


def appended(module: str) -> Iterator[tuple[str, ast.stmt]]:
    """The statements `LIST.append(...)` of a file with LIST of another."""
    for node in statements(module):
        owner = registered_with(node) if isinstance(node, ast.Expr) else None
        if owner in imports(module):
            yield owner, node


def native_texts(kernels: Iterable[tuple[str, str]]) -> list[str]:
    """The C++ texts of kernels, as assignments."""
    modules = dict.fromkeys(module for module, _ in kernels)
    found = [each for module in modules for node in statements(module) if (each := carried(node))]
    texts = [(name, cpp(*files)) for name, files in found]
    return [f'{name} = r"""{text}"""' for name, text in texts]


def imports_of(kernels: Iterable[tuple[str, str]]) -> list[str]:
    """Import statements of the standard library that kernels, and those that they borrow, need besides torch."""
    lines = set[str]()
    for module, name in with_borrowed(kernels):
        used = frozenset[str]().union(*map(names_in, needed(module, [name])))
        for node in statements(module):
            match node:
                case ast.Import(names):
                    lines |= {f"import {each.name}" for each in names if each.name in used - {"torch"}}
                case ast.ImportFrom(str(origin), names) if origin.partition(".")[0] not in ("torch", "vispec"):
                    lines |= {f"from {origin} import {each.name}" for each in names if each.name in used}
    return sorted(lines, key=lambda line: (line.startswith("from"), line))


def kernel_texts(kernels: Iterable[tuple[str, str]]) -> list[str]:
    """Source of every kernel, and of those that it borrows, a file's kernels together."""
    by_module: dict[str, list[str]] = {}
    for module, name in with_borrowed(kernels):
        by_module.setdefault(module, []).append(name)
    order = sorted(by_module, key=lambda module: (".native." in module, module))  # they register with what they replace
    return [kernel_source(module, sorted(by_module[module])).strip("\n") for module in order]
