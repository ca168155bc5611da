"""Checks that every line of the project stands in its room, as docs/architecture.md draws the house.

    python .ci/rooms.py                     floors, words that belong to one room, sizes, docstrings
    python .ci/rooms.py --objects BUILD     also compiled objects: what leaks out of an ISA, what a CPU must have
    python .ci/rooms.py --statistics        lines and functions of csrc, room by room

Prints each breach as `file:line: what` and ends with status 1 if there is one. Reads text with regular expressions, not
as a compiler does: a breach that only a compiler can see (a scalar `exp` that becomes libm's) shows in the objects.
"""

import argparse
import ast
import fnmatch
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# ---- the house ----------------------------------------------------------------------------------------------------

# PKG-INFO is in source distributions only.
TOP = {"pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore", ".gitattributes",
       ".clang-format", "PKG-INFO", ".ci", "docs", "csrc", "src", "tests", "benchmarks"}  # fmt: skip

FLOORS = {"base": 0, "simd": 0, "kernels": 1, "isa": 2, "program": 3}

# What a room may include of a floor below, where it may not have all of it.
ONLY = {
    ("program", "isa"): {"isa/select.hpp"},
    ("program", "kernels"): {"kernels/table.hpp"},
    ("program", "simd"): {"simd/cpu.hpp"},
    ("kernels", "base"): {"base/types.hpp"},
    ("kernels", "simd"): {"simd/simd.hpp"},
    ("simd", "base"): {"base/types.hpp"},
    ("base", "simd"): set(),
}

# Lines of a file, lines of a function: the first pattern that fits a path decides, and * stands for folders too. None: no
# limit.
LIMITS: list[tuple[str, int, int | None]] = [
    ("csrc/kernels/*", 300, 60),
    ("csrc/program/*", 400, 50),
    ("csrc/simd/*", 250, 20),
    ("csrc/base/*", 120, 25),
    ("csrc/isa/select.*", 120, 30),
    ("csrc/isa/*", 20, None),
    ("src/thalweg/model.py", 400, 40),
    ("src/thalweg/trainer.py", 400, 40),
    ("src/thalweg/training.py", 400, 40),
    ("src/thalweg/graph.py", 400, 40),
    ("src/thalweg/*.py", 300, 40),
    ("src/thalweg/_native.pyx", 400, 50),
    ("CMakeLists.txt", 120, None),
]

LIBM = (
    "acosh?|asinh?|atan[2h]?|cbrt|ceil|cosh?|erfc?|exp(10|2|m1)?|fdim|floor|fma|fmax|fmin|fmod|frexp|hypot|ilogb|ldexp"
    "|lgamma|llrint|llround|log(10|1p|2|b)?|lrint|lround|modf|nearbyint|nextafter|pow|remainder|remquo|rint|round"
    "|scalbl?n|sinh?|tanh?|tgamma|trunc"
)


@dataclass(frozen=True, order=True)
class Breach:
    """A line that stands in the wrong room."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        """Return it as compilers do."""
        return f"{self.file}:{self.line}: {self.what}" if self.line else f"{self.file}: {self.what}"


@dataclass(frozen=True)
class Function:
    """A function and its lines, from its name to its last brace or statement, docstring left out."""

    file: str
    name: str
    line: int
    lines: int


def room_of(file: str) -> str:
    """Return the room of a file of csrc: base, simd, kernels, isa, program."""
    return file.split("/")[1]


def is_isa_source(file: str) -> bool:
    """Whether a file of csrc is compiled for an ISA, and may be merged into code for all CPUs by the linker."""
    return room_of(file) in ("kernels", "simd") or (room_of(file) == "isa" and "select" not in file)


def line_at(text: str, at: int) -> int:
    """Return the number of the line of a position."""
    return text.count("\n", 0, at) + 1


# ---- C++ as text --------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def code_of(text: str, strings: bool = False) -> str:
    """Return C++ with comments (and string literals, unless wanted) as blanks; every line keeps its number."""

    def replace(match: re.Match[str]) -> str:
        token = match[0]
        if token[0] == "/" or (token[0] == '"' and not strings):
            return _blank(token)
        if token[0] == "'" and not strings:
            # A digit separator is no literal.
            return token if text[match.start() - 1 : match.start()].isalnum() else _blank(token)
        return token

    return _TOKEN.sub(replace, text)


# What can stand between the closing parenthesis of the parameters and a function's brace.
_TAIL = re.compile(r"\)\s*(const|noexcept|override|final|&|->[\w\s:<>*&,]+|\s)*(:\s.*[)}])?\s*$", re.DOTALL)
_TYPE = re.compile(
    r"(^|[\s>;])(class|struct|union|enum|namespace|extern)\b(\s*alignas\s*\([^)]*\))?[^()=]*$", re.DOTALL
)


def cpp_functions(file: str, text: str) -> list[Function]:
    """Find the functions of a C++ file by their braces. A lambda belongs to the function that it stands in."""
    code = re.sub(r"^[ \t]*#(\\\n|[^\n])*", lambda m: _blank(m[0]), code_of(text), flags=re.MULTILINE)
    found, scopes, head = [], [], 0  # scopes: of each open brace, "outer", where a function began, or "inner"
    for match in re.finditer(r"[;{}]", code):
        at, goes_on = match.start(), False  # goes_on: a member's initializer, {} between the parameters and the body
        if match[0] == "{":
            before = code[head:at]
            outer = all(scope == "outer" for scope in scopes)
            if outer and _TYPE.search(before):
                scopes.append("outer")
            elif outer and _TAIL.search(before):
                scopes.append(head + len(before) - len(before.lstrip()))
            else:
                scopes.append("inner")
                goes_on = outer
        elif match[0] == "}" and scopes:
            scope = scopes.pop()
            if isinstance(scope, int):
                found.append(_function(file, code, scope, at))
            goes_on = scope == "inner" and all(scope == "outer" for scope in scopes)
        if not goes_on:
            head = at + 1
    return found


def _function(file: str, code: str, begin: int, end: int) -> Function:
    head = re.sub(r"template\s*<[^\n]*>\s*\n", lambda m: _blank(m[0]), code[begin:end])
    begin += len(head) - len(head.lstrip())
    name = re.search(r"(operator\s*\(\)|operator\s*[^\s\w(]+|[~\w]+)\s*\(", head)
    first, last = line_at(code, begin), line_at(code, end)
    return Function(file, name[1] if name else "?", first, last - first + 1)


# ---- words that belong to one room --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Word:
    """A word and the files of csrc that may not say it."""

    pattern: str
    forbidden: Callable[[str], bool]
    what: str


def _outside(*rooms: str) -> Callable[[str], bool]:
    return lambda file: room_of(file) not in rooms


def _but(*files: str) -> Callable[[str], bool]:
    return lambda file: file.removeprefix("csrc/") not in files


def _everywhere(file: str) -> bool:
    return True


def _bare_libm(file: str) -> bool:
    return room_of(file) not in ("kernels", "simd")  # these have words of their own: exp(Vec), max(Vec), fma(Vec)


_STD_PLAIN = r"sqrt\b|u?int(8|16|32|64)_t\b|u?intptr_t\b|size_t\b"

WORDS = [
    Word(r"\bomp_\w+|#\s*pragma\s+omp\b|<omp\.h>|\bGOMP_\w+|\bstd::(thread|async|jthread)\b|<thread>|\bpthread_\w+",
         _but("program/threads.hpp"), "threads belong to program/threads.hpp"),
    Word(r"\b_mm\d*_\w+|\b__m(64|128|256|512)[id]?\b|<(\w*mmintrin|immintrin|arm_neon|arm_sve)\.h>|\b__builtin_ia32_\w+"
         r"|\bv(ld1|st1|fma|add|mul|sub)q?_\w+|\bfloat(32|64)x\d_t\b",
         _outside("simd"), "an instruction belongs to simd/"),
    Word(r"\basm\b", _outside("simd", "isa"), "assembly belongs to simd/ or isa/"),
    Word(r"\bcpuid\b|\b__get_cpuid\w*|\bxgetbv\b|<cpuid\.h>|\b__builtin_cpu_\w+|\bgetauxval\b",
         _outside("isa"), "asking the CPU belongs to isa/"),
    Word(r"\b__(AVX\w*|SSE\w*|FMA|ARM_NEON|ARM_FEATURE\w*)__\b"
         r"|\b(avx2|avx512|sse\d?|neon|sve|znver\d|skylake|haswell)\b",
         _outside("isa", "simd"), "the name of an ISA or CPU belongs to isa/"),
    Word(rf"\bstd::(?!{_STD_PLAIN})\w+|\busing\s+namespace\s+std\b", is_isa_source,
         "std is for baseline code: the linker would merge what was compiled for a newer CPU into it"),
    Word(r"#\s*include\s*<(?!cmath>|cstdint>|cstddef>|immintrin\.h>|arm_neon\.h>)[^>]*>", is_isa_source,
         "a kernel includes <cmath>, <cstdint> and the project's own headers"),
    Word(r"(?<!operator )\b(new|throw|try|catch|typeid|dynamic_cast)\b|(?<!= )(?<!=)\bdelete\b",
         lambda file: room_of(file) in ("kernels", "simd"), "kernels neither allocate nor throw"),
    Word(r"\b(malloc|calloc|realloc|free|aligned_alloc|posix_memalign|mmap)\s*\(",
         _but("base/arena.hpp"), "memory is asked for in base/arena.hpp"),
    Word(r"\b(throw|require\s*\()",
         lambda file: file.startswith(("csrc/program/program", "csrc/program/bind", "csrc/program/threads")),
         "after a plan is made nothing fails: checks belong to program/plan.cpp"),
    Word(r"\b(v?f?printf|f?puts|putchar|perror|abort|exit|_exit|quick_exit|terminate|assert)\s*\("
         r"|\bstd::c(out|err|log)\b",
         _everywhere, "csrc neither prints nor aborts"),
    Word(r"\bv?snprintf\b", _but("program/describe.cpp", "program/schedule.cpp"),
         "text is made in program/describe.cpp and schedule.cpp"),
    Word(rf"\bstd::({LIBM})[fl]?\b|(?<![.>:\w])({LIBM})[fl]\s*\(|\b__builtin_({LIBM})[fl]?\b|<math\.h>",
         _everywhere, "of libm only sqrt"),
    Word(rf"(?<![.>:\w])({LIBM})\s*\(", _bare_libm, "of libm only sqrt"),
    Word(r"\b(rand|srand|random_device|mt19937)\b", _everywhere, "random numbers come from base/rng.hpp"),
    Word(r"#\s*pragma\s+(GCC\s+(target|optimize|push_options)|STDC\s+FP_CONTRACT)"
         r"|__attribute__\s*\(\(\s*(target|optimize)",
         _everywhere, "flags belong to CMakeLists.txt"),
]  # fmt: skip


def check_words(file: str, text: str) -> Iterator[Breach]:
    """Find words of csrc in rooms that may not say them."""
    code = code_of(text)
    for word in WORDS:
        if word.forbidden(file):
            for match in re.finditer(word.pattern, code):
                yield Breach(file, line_at(code, match.start()), f"{match[0].strip()}: {word.what}")


def check_includes(file: str, text: str, exists: Callable[[str], bool]) -> Iterator[Breach]:
    """Check that each of the project's own headers is named in full from csrc/, and lies on this floor or below."""
    room = room_of(file)
    code = code_of(text, strings=True)
    for match in re.finditer(r'^[ \t]*#\s*include\s*"([^"]*)"', code, re.MULTILINE):
        name, line = match[1], line_at(code, match.start())
        target = name.split("/")[0]
        if target not in FLOORS or not exists(f"csrc/{name}"):
            yield Breach(file, line, f'"{name}" is no file of csrc/: includes are full from there')
        elif FLOORS[target] > FLOORS[room]:
            yield Breach(file, line, f'"{name}" is upstairs: {room}/ includes its own floor and those below')
        elif name not in ONLY.get((room, target), {name}):
            allowed = ", ".join(sorted(ONLY[room, target])) or "nothing"
            yield Breach(file, line, f'"{name}": {room}/ may include {allowed} of {target}/')


# ---- sizes --------------------------------------------------------------------------------------------------------


def limits_of(file: str) -> tuple[int | None, int | None]:
    """Return the most lines that a file and its functions may have."""
    for pattern, file_limit, function_limit in LIMITS:
        if fnmatch.fnmatch(file, pattern):
            return file_limit, function_limit
    return None, None


def check_sizes(file: str, text: str, functions: Iterable[Function]) -> Iterator[Breach]:
    """Check the lines of a file and of its functions."""
    file_limit, function_limit = limits_of(file)
    lines = len(text.splitlines())
    if file_limit is not None and lines > file_limit:
        yield Breach(file, lines, f"{lines} lines; a file here has at most {file_limit}")
    for function in functions:
        if function_limit is not None and function.lines > function_limit:
            what = f"{function.name}() has {function.lines} lines; a function here has at most {function_limit}"
            yield Breach(file, function.line, what)


# ---- Python -------------------------------------------------------------------------------------------------------

_Definition = ast.FunctionDef | ast.AsyncFunctionDef


def python_functions(file: str, tree: ast.Module) -> list[Function]:
    """Find the functions and methods of a module. Nested ones belong to the one that they stand in."""
    found = []

    def visit(body: Iterable[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, _Definition):
                documented = ast.get_docstring(node) is not None
                doc = node.body[0].end_lineno - node.body[0].lineno + 1 if documented else 0
                found.append(Function(file, node.name, node.lineno, node.end_lineno - node.lineno + 1 - doc))
            elif isinstance(node, ast.ClassDef):
                visit(node.body)

    visit(tree.body)
    return found


def _is_accessor(node: ast.stmt) -> bool:
    """Whether a method is a setter or an overload, which the getter or the implementation documents."""
    decorators = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])]
    return any(d.endswith((".setter", ".deleter", "overload")) for d in decorators)


def check_docstrings(file: str, tree: ast.Module) -> Iterator[Breach]:
    """Check that the module and each of its public functions, classes and methods has a docstring."""
    if not ast.get_docstring(tree):
        yield Breach(file, 1, "the module has no docstring")

    def visit(body: Iterable[ast.stmt], inside: str) -> Iterator[Breach]:
        for node in body:
            if not isinstance(node, _Definition | ast.ClassDef) or node.name.startswith("_") or _is_accessor(node):
                continue
            if not ast.get_docstring(node):
                yield Breach(file, node.lineno, f"{inside}{node.name} is public and has no docstring")
            if isinstance(node, ast.ClassDef):
                yield from visit(node.body, f"{inside}{node.name}.")

    yield from visit(tree.body, "")


def check_imports(file: str, tree: ast.Module) -> Iterator[Breach]:
    """Check that the package imports nothing from upstairs, and that only the command line knows the benchmarks."""
    knows_bench = file.startswith("src/thalweg/bench/") or file == "src/thalweg/cli.py"
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] in ("tests", "benchmarks"):
                yield Breach(file, node.lineno, f"{name} is upstairs: the package imports neither tests nor benchmarks")
            if f"{name}.".startswith("thalweg.bench.") and not knows_bench:
                yield Breach(file, node.lineno, f"{name} is imported by cli.py only")


def check_exports(file: str, tree: ast.Module) -> Iterator[Breach]:
    """Check that __all__ names what the package's __init__ has, and all of it that is public."""
    bound: dict[str, int] = {}
    exported: set[str] | None = None
    for_types = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    for node in [*tree.body, *(line for block in for_types for line in block.body)]:
        if isinstance(node, ast.ImportFrom | ast.Import):
            bound |= {alias.asname or alias.name.split(".")[0]: node.lineno for alias in node.names}
        elif isinstance(node, _Definition | ast.ClassDef):
            bound[node.name] = node.lineno
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            bound[node.targets[0].id] = node.lineno
            if node.targets[0].id == "__all__":
                exported = set(ast.literal_eval(node.value))
    if exported is None:
        yield Breach(file, 1, "the package has no __all__")
        return
    for name in sorted(exported - set(bound)):
        yield Breach(file, bound["__all__"], f"{name} is in __all__ and nowhere else")
    for name in sorted(set(bound) - exported):
        if not name.startswith("_"):
            yield Breach(file, bound[name], f"{name} is public and not in __all__")


def check_python(file: str, text: str) -> Iterator[Breach]:
    """Check a module of the package."""
    tree = ast.parse(text)
    yield from check_docstrings(file, tree)
    yield from check_imports(file, tree)
    yield from check_sizes(file, text, python_functions(file, tree))
    if file.endswith("/__init__.py"):
        yield from check_exports(file, tree)


# ---- the door -----------------------------------------------------------------------------------------------------


def door_functions(file: str, text: str) -> list[Function]:
    """Find the functions of a Cython file by their indentation."""
    lines, found = text.splitlines(), []
    for i, line in enumerate(lines):
        match = re.match(r"( *)(?:def|cdef(?!\s+(?:class|extern|struct|enum|cppclass))[^=(]*?)\s*\b(\w+)\(.*", line)
        if not match or not _opens_body(lines, i):
            continue
        end = i
        while not lines[end].rstrip().endswith(":") and end + 1 < len(lines):
            end += 1
        last = end
        for j in range(end + 1, len(lines)):
            if lines[j].strip() and not lines[j].startswith(match[1] + " "):
                break
            last = j if lines[j].strip() else last
        found.append(Function(file, match[2], i + 1, last - i + 1))
    return found


def _opens_body(lines: list[str], i: int) -> bool:
    """Whether a signature that begins in line i ends with a colon rather than being a declaration."""
    text = "\n".join(lines[i:])
    depth = 0
    for at, char in enumerate(text):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == ")" and depth == 0:
            return re.match(r"[^\n]*:\s*(#[^\n]*)?(\n|$)", text[at + 1 :]) is not None
    return False


def check_door(file: str, text: str, exists: Callable[[str], bool]) -> Iterator[Breach]:
    """Check that the door has no NumPy and no loop over data: only over names, layers, parameters or up to 8 slots.

    It sees of csrc what program/ sees.
    """
    for match in re.finditer(r'^cdef extern from "(\w+/[^"]*)"', text, re.MULTILINE):
        include = f'#include "{match[1]}"'
        for breach in check_includes("csrc/program/door", include, exists):
            what = breach.what.replace("program/ may", "the door may")
            yield Breach(file, line_at(text, match.start()), what)
    code = re.sub(r'#[^\n]*|"""(?s:.*?)"""', lambda m: _blank(m[0]), text)
    views = re.findall(r"\[[^\[\]\n]*:[^\[\]\n]*\]\s+(\w+)", code)
    rules = [
        (r"^\s*(c?import|from)\s+numpy\b[^\n]*", "the door knows the buffer protocol, not NumPy"),
        (r"\bwhile\b[^\n]*", "no loops over data in the door"),
        (r"\bfor\s+[^\n]*?\bin\s+(?:prange\b|range\s*\((?!\s*[1-8]\s*\)))[^\n]*", "no loops over data in the door"),
        (r"\bfor\s+\w+\s+from\b[^\n]*", "no loops over data in the door"),
    ]
    if views:
        rules.append((rf"\bfor\s+[^\n]*?\bin\s+({'|'.join(views)})\b[^\n]*", "no loops over data in the door"))
    for pattern, what in rules:
        for match in re.finditer(pattern, code, re.MULTILINE):
            yield Breach(file, line_at(code, match.start()), f"{match[0].strip()}: {what}")
    yield from check_sizes(file, text, door_functions(file, text))


# ---- the build ----------------------------------------------------------------------------------------------------


def cmake_commands(text: str) -> list[tuple[str, list[str]]]:
    """Parse a CMakeLists.txt into its commands and their arguments, as they are written."""
    code = re.sub(r'"[^"]*"|#[^\n]*', lambda m: "" if m[0][0] == "#" else m[0], text)
    commands = re.findall(r"(\w+)\s*\(((?:[^()]|\([^()]*\))*)\)", code)
    return [(name.lower(), re.findall(r'"[^"]*"|\$<[^\s]*>|[^\s"]+', arguments)) for name, arguments in commands]


@dataclass(frozen=True)
class Unit:
    """A source of csrc with the flags that CMakeLists.txt compiles it with; `isa` is empty for baseline code."""

    source: str
    flags: tuple[str, ...]
    isa: str


def compile_units(text: str, x86: bool = True) -> list[Unit]:
    """Read sources and flags from CMakeLists.txt, for compiling without CMake. Generator expressions drop out."""
    variables: dict[str, list[str]] = {}
    isas: list[list[str]] = []
    options: dict[str, list[str]] = {}
    sources: list[str] = []
    for name, arguments in cmake_commands(text):
        arguments = [part.strip('"') for part in arguments if not part.startswith("$<")]
        if name == "set" and arguments:
            variables.setdefault(arguments[0], [word for part in arguments[1:] for word in part.split()])
        elif name == "thalweg_isa":
            isas.append(arguments)
        elif name == "target_compile_options":
            options.setdefault(arguments[0], []).extend(arguments[2:])
        elif name == "target_compile_definitions" and x86:
            defined = [word for part in arguments[2:] for word in variables.get(part.strip("${}"), [part])]
            options.setdefault(arguments[0], []).extend(f"-D{word}" for word in defined)
        elif name == "add_library" and arguments[0] == "thalweg_program":
            sources = [part for part in arguments if part.endswith(".cpp")]

    def expand(parts: Iterable[str], more: Iterable[str] = ()) -> Iterator[str]:
        for part in parts:
            match = re.fullmatch(r"\$\{(\w+)\}", part)
            if not match:
                yield part
            elif match[1] == "ARGN":
                yield from more
            else:
                yield from expand(word for word in variables.get(match[1], []) if not word.startswith("$<"))

    common = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-Icsrc")
    common += tuple(expand(["${CMAKE_CXX_FLAGS_RELEASE}"]))
    units = [Unit(source, (*common, "-fopenmp", *expand(options["thalweg_program"])), "") for source in sources]
    for isa, *flags in isas if x86 else [["scalar"]]:
        units.append(Unit(f"csrc/isa/{isa}.cpp", (*common, *expand(options["thalweg_${name}"], flags)), isa))
    return units


_FLAGS = (
    r"-ffast-math|-Ofast|-march=native|-mtune=native|-mcpu=native|INTERPROCEDURAL_OPTIMIZATION|-flto\b"
    r"|-funsafe-math-optimizations|-ffinite-math-only|-fassociative-math|-freciprocal-math|-ffp-contract=(fast|on)"
)


def check_build(file: str, text: str) -> Iterator[Breach]:
    """Check that no flag changes arithmetic, names this machine or mixes the ISAs' objects."""
    code = re.sub(r"#[^\n]*", lambda m: _blank(m[0]), text)
    for match in re.finditer(_FLAGS, code):
        yield Breach(file, line_at(code, match.start()), f"{match[0]}: results must not depend on flags or machine")
    units = compile_units(text)
    for unit in units:
        wanted = ["-ffp-contract=off", *(["-fno-exceptions", "-fno-rtti"] if unit.isa else [])]
        for flag in wanted:
            if flag not in unit.flags:
                yield Breach(file, 1, f"{unit.source} is compiled without {flag}")
        if not unit.isa and any(flag.startswith("-m") for flag in unit.flags):
            yield Breach(file, 1, f"{unit.source} is for every CPU: no -m flag")
    yield from check_sizes(file, text, [])


# ---- the tree -----------------------------------------------------------------------------------------------------


def check_top(root: Path) -> Iterator[Breach]:
    """Check that only what the house has stands at the top; what git ignores is not looked at."""
    ignored = [".git"]
    if (root / ".gitignore").exists():
        lines = (root / ".gitignore").read_text().splitlines()
        ignored += [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]
    for path in sorted(root.iterdir()):
        if path.name not in TOP and not any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored):
            yield Breach(path.name, 0, "has no room in the house")
    for path in sorted((root / "csrc").iterdir()):
        if path.name not in FLOORS:
            yield Breach(f"csrc/{path.name}", 0, f"csrc has the rooms {', '.join(FLOORS)}")


def check_open_ends(file: str, text: str) -> Iterator[Breach]:
    """Check that what is left to do says when."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.search(r"\b(TODO|FIXME|XXX)\b", line)
        if match and not re.search(r"\bwhen\b", line, re.IGNORECASE):
            yield Breach(file, number, f'{match[0]} without a condition ("when X, then Y")')


def check_file(root: Path, file: str) -> Iterator[Breach]:
    """Check one file of the tree, by where it stands."""
    text = (root / file).read_text(encoding="utf-8")

    def exists(name: str) -> bool:
        return (root / name).is_file()

    if file.startswith("csrc/") and room_of(file) in FLOORS:
        yield from check_includes(file, text, exists)
        yield from check_words(file, text)
        yield from check_sizes(file, text, cpp_functions(file, text))
    elif file.startswith("src/thalweg/") and file.endswith(".py"):
        yield from check_python(file, text)
    elif file.endswith("_native.pyx"):
        yield from check_door(file, text, exists)
    elif file == "CMakeLists.txt":
        yield from check_build(file, text)
    if file.startswith(("csrc/", "src/", "benchmarks/", "docs/", "CMake")):
        yield from check_open_ends(file, text)


def files_of(root: Path) -> list[str]:
    """List the files of the tree that are checked, from its root."""
    found = [root / "CMakeLists.txt"]
    for folder in ("csrc", "src", "benchmarks", "docs"):
        found += [path for path in sorted((root / folder).rglob("*")) if "__pycache__" not in path.parts]
    suffixes = {".hpp", ".cpp", ".py", ".pyi", ".pyx", ".md", ".txt"}
    return [path.relative_to(root).as_posix() for path in found if path.suffix in suffixes and path.is_file()]


def check_tree(root: Path) -> list[Breach]:
    """Check a whole tree."""
    found = list(check_top(root))
    for file in files_of(root):
        found += check_file(root, file)
    return sorted(found)


# ---- compiled objects ---------------------------------------------------------------------------------------------


def _run(*command: str | Path) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


# Compilers call these on their own, whatever a kernel says.
_FROM_COMPILER = {"memcpy", "memmove", "memset", "memcmp", "bcmp", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}


def check_isa_object(path: Path, isa: str) -> Iterator[Breach]:
    """Check that all that the linker can see of an ISA's object is its own, and that it needs nothing from outside.

    A weak symbol of std:: compiled for AVX-512 may be taken for the whole program, and crashes an older CPU.
    """
    own = re.compile(rf"_Z(?:GV|T[VTIS])?Z*N[KVr]*7thalweg{len(isa)}{isa}")
    for line in _run("nm", "--format=posix", path).splitlines():
        symbol, kind = line.split()[:2]
        if kind in "Uw" and "." not in symbol:  # w: weak and not defined here
            if symbol not in _FROM_COMPILER:
                yield Breach(path.name, 0, f"needs {symbol}, and a kernel needs nothing from outside")
        elif (kind.isupper() or kind in "uvw") and not own.match(symbol):
            yield Breach(path.name, 0, f"shows {_demangled(symbol)}, which is not of thalweg::{isa}")


@cache
def _demangled(symbol: str) -> str:
    return _run("c++filt", symbol).strip()


_NEWER = re.compile(
    r"^\s*[0-9a-f]+:\s+"
    r"(v(?!err|erw|mcall|mload|mresume|mxo)\w+|k(mov|or|and|xor|not|unpck|test|shift|add)\w+"
    r"|andn|bextr|bls\w+|mulx|pdep|pext|rorx|sarx|shlx|shrx|popcnt|lzcnt|crc32\w*"
    r"|p(shufb|abs|hadd|sign|alignr|max[su][bwd]|min[su][bwd]|mulld|blend|insr[bdq]|extr[bdq]|test|movsx|movzx)\w*"
    r"|(round|blend|insert|dp)[ps][sd]|(addsub|hadd|hsub)p[sd])\b"
    r"|%[yz]mm\d|%k[0-7]\b"
)
_BASELINE_TOO = re.compile(r"\b(pmaxsw|pmaxub|pminsw|pminub)\b")  # SSE2 has these


def check_baseline_object(path: Path) -> Iterator[Breach]:
    """Check that an object for every x86-64 holds no instruction beyond SSE2. xgetbv stands behind a question."""
    where = "?"
    for line in _run("objdump", "-d", "-C", "--no-show-raw-insn", path).splitlines():
        if line.endswith(">:"):
            where = line.partition("<")[2][:-2]
        elif (match := _NEWER.search(line)) and not _BASELINE_TOO.search(line):
            instruction = " ".join(line.split()[1:])
            yield Breach(path.name, 0, f"{where}: `{instruction}`: {match[0].split()[-1]} is not for every CPU")
            return


# What a Linux of 2018 has, and what GCC 11's C++ library has: the extension runs on all that NumPy's wheels run on.
NEWEST = {"GLIBC": (2, 28), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 11)}


def check_extension(path: Path) -> Iterator[Breach]:
    """Check what a built extension wants of the system: no new versions, nothing of libm, and no name to show."""
    for line in _run("objdump", "-T", path).splitlines():
        undefined = "*UND*" in line
        symbol = line.split()[-1] if line.split() else ""
        version = re.search(r"\b(GLIBCXX|GLIBC|CXXABI)_([\d.]+)", line)
        if undefined and version and tuple(map(int, version[2].split("."))) > NEWEST[version[1]]:
            yield Breach(path.name, 0, f"needs {_demangled(symbol)} of {version[0]}")
        if undefined and re.fullmatch(rf"({LIBM}|sqrt|isnan|isinf|finite)[fl]?", symbol):
            yield Breach(path.name, 0, f"needs {symbol} of libm")
        shown = not undefined and re.match(r"[0-9a-f]{8,} [gwu]", line)
        if shown and not re.match(r"(PyInit__\w+|_init|_fini)$|_Z(GV|T[VTIS])?Z*N?K?(St|9__gnu_cxx)", symbol):
            yield Breach(path.name, 0, f"shows {_demangled(symbol)} to everyone")


def check_objects(build: Path, x86: bool = True) -> list[Breach]:
    """Check all objects and extensions of a CMake build folder."""
    found: list[Breach] = []
    objects, extensions = sorted(build.rglob("*.o")), sorted(build.glob("_native*.so"))
    isas = [path.name.partition(".")[0] for path in objects if path.parent.name == "isa"]
    if "scalar" not in isas or not extensions:
        return [Breach(str(build), 0, "is no folder that thalweg was built in: no objects, or no extension")]
    for path in objects:
        isa = path.name.partition(".")[0] if path.parent.name == "isa" else "select"
        if isa != "select":
            found += check_isa_object(path, isa)
        if isa in ("select", "scalar") and x86:
            found += check_baseline_object(path)
    for path in extensions:
        found += check_extension(path)
    return found


def is_x86(object_file: Path) -> bool:
    """Whether an object is for x86-64."""
    return "x86-64" in _run("objdump", "-f", object_file)


# ---- statistics ---------------------------------------------------------------------------------------------------


def print_statistics(root: Path) -> None:
    """Print files, lines and functions of csrc, room by room."""
    print(f"{'room':<10}{'files':>6}{'lines':>7}{'functions':>11}{'median':>8}{'largest':>9}")
    rooms: dict[str, list[str]] = {room: [] for room in FLOORS}
    for file in files_of(root):
        if file.startswith("csrc/"):
            rooms[room_of(file)].append(file)
    everything = [file for files in rooms.values() for file in files]
    for room, files in [*rooms.items(), ("csrc", everything)]:
        texts = {file: (root / file).read_text(encoding="utf-8") for file in files}
        functions = [function for file, text in texts.items() for function in cpp_functions(file, text)]
        lines = sum(len(text.splitlines()) for text in texts.values())
        if not functions:
            print(f"{room:<10}{len(files):>6}{lines:>7}{0:>11}")
            continue
        largest = max(functions, key=lambda function: function.lines)
        median = statistics.median(function.lines for function in functions)
        print(
            f"{room:<10}{len(files):>6}{lines:>7}{len(functions):>11}{median:>8g}{largest.lines:>9}"
            f"  {largest.name}, {largest.file}:{largest.line}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the checks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to check (default: this one)")
    parser.add_argument("--objects", type=Path, metavar="BUILD_DIR", help="check compiled objects too")
    parser.add_argument("--statistics", action="store_true", help="print lines and functions of csrc")
    options = parser.parse_args(arguments)
    if options.statistics:
        print_statistics(options.root)
        return 0
    found = check_tree(options.root)
    files, checked = len(files_of(options.root)), "files"
    if options.objects:
        objects = sorted(options.objects.rglob("*.o"))
        found += check_objects(options.objects, bool(objects) and is_x86(objects[0]))
        checked = f"files and {len(objects)} objects"
    for breach in found:
        print(breach)
    if not found:
        print(f"rooms: {files} {checked}, every line in its room")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
