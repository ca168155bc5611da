"""The house keeps its order: .ci/rooms.py finds nothing in this tree, and every kind of breach where one is planted."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / ".ci" / "rooms.py"

if not SCRIPT.exists():
    pytest.skip("the tests stand apart from the tree: there is nothing to check", allow_module_level=True)


def load_rooms() -> ModuleType:
    """Import .ci/rooms.py, which is no package's module."""
    spec = importlib.util.spec_from_file_location("rooms", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["rooms"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


rooms = load_rooms()

# A small house without a breach. Comments and strings may say anything.
CLEAN = {
    "CMakeLists.txt": (ROOT / "CMakeLists.txt").read_text(),
    ".gitignore": "/build/\n__pycache__/\n",
    "README.md": "",
    "csrc/base/types.hpp": "#pragma once\n#include <cstdint>\n",
    "csrc/base/check.hpp": "#include <sstream>\ninline void require(bool b) { if (!b) throw 1; }  // std::vector\n",
    "csrc/base/arena.hpp": "struct Arena { char* p = static_cast<char*>(std::aligned_alloc(64, 64)); };\n",
    "csrc/simd/simd.hpp": '#include <cmath>\n#include "base/types.hpp"\n#include <immintrin.h>\n'
    "inline __m256 add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }\n"
    "#if defined(__AVX2__)\n#endif\n",
    "csrc/simd/cpu.hpp": 'inline void pause() { asm volatile("yield"); }\n',
    "csrc/kernels/table.hpp": '#include "base/types.hpp"\nstruct Table { void (*exp)(float) noexcept; };\n',
    "csrc/kernels/math.hpp": '#pragma once\n#include "simd/simd.hpp"\n'
    "/* no std::vector, no _mm256_add_ps, no throw, no omp here: expf() is libm's */\n"
    "// nor std::exp, malloc(), printf()\n"
    'inline float both(float x) noexcept { return exp(x) + max(x, std::sqrt(x)) + text("std::vector, _mm_pause(), new"); }\n'
    "struct Own { Own(const Own&) = delete; void operator()(float) const {} };\n"
    "constexpr std::uint64_t bits = 0x8000'0000'0000'0000;\n",
    "csrc/isa/scalar.cpp": '#define THALWEG_ISA scalar\n#include "kernels/math.hpp"\n',
    "csrc/isa/select.hpp": '#include <string>\n#include "kernels/table.hpp"\n',
    "csrc/isa/select.cpp": '#include <cpuid.h>\n#include "isa/select.hpp"\nconst char* avx2 = "avx2";\n',
    "csrc/program/threads.hpp": '#include <omp.h>\n#include "simd/cpu.hpp"\ninline int n() { return omp_get_num_threads(); }\n',
    "csrc/program/plan.cpp": '#include <vector>\n#include "kernels/table.hpp"\n#include "base/check.hpp"\n'
    '#include "isa/select.hpp"\n#include "program/threads.hpp"\nstd::vector<int> plan() { throw 1; }\n'
    "double f(Table table) { return std::isfinite(table.exp(1)) ? std::sqrt(2) : std::max(1, 2); }\n",
    "csrc/program/describe.cpp": 'void f(char* s) { std::snprintf(s, 9, "%d", 1); }\n',
    "src/thalweg/__init__.py": '"""A package."""\n\nfrom thalweg.model import fit\n\n__version__ = "1"\n__all__ = ["fit"]\n',
    "src/thalweg/model.py": '"""A module."""\n\n\ndef fit():\n    """Train."""\n\n\ndef _own():\n    pass\n',
    "src/thalweg/_native.pyx": 'from libc.string cimport memset\ncdef extern from "kernels/table.hpp":\n    pass\n'
    "def f(const double[:, ::1] x, layers):\n"
    '    """No while, no for i in range(n)."""\n'
    "    for layer in layers:\n        pass\n    for i in range(3):\n        pass\n    return [p.ld for p in plan(x)]\n",
}


@pytest.fixture
def house(tmp_path):
    """Build the small house, with some files more or other, and return what is found in it."""

    def check(planted):
        for name, text in (CLEAN | planted).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return rooms.check_tree(tmp_path)

    check.root = tmp_path
    return check


def long_function(lines, head="void f() {", tail="}"):
    """Return C++ text of a function of so many lines."""
    return "\n".join([head, *["  g();"] * (lines - 2), tail]) + "\n"


def long_method(lines):
    """Return Python text of a documented method with so many lines beside its docstring."""
    body = ["        x = 1"] * (lines - 1)
    head = ['"""A module."""', "", "", "class Long:", '    """Long."""', "", "    def method(self):"]
    return "\n".join([*head, '        """Do.', "", "        Much.", '        """', *body]) + "\n"


def test_this_tree_has_no_breach():
    found = rooms.check_tree(ROOT)
    assert not found, "\n" + "\n".join(map(str, found))


def test_clean_house_has_no_breach(house):
    assert house({}) == []


BREACHES = [
    # floors
    ("csrc/kernels/x.hpp", '#include "program/threads.hpp"\n', 1, "upstairs"),
    ("csrc/base/x.hpp", '\n#include "kernels/table.hpp"\n', 2, "upstairs"),
    ("csrc/simd/x.hpp", '#include "isa/select.hpp"\n', 1, "upstairs"),
    ("csrc/isa/x.cpp", '#include "program/threads.hpp"\n', 1, "upstairs"),
    ("csrc/kernels/x.hpp", '#include "math.hpp"\n', 1, "full from there"),
    ("csrc/kernels/x.hpp", '#include "kernels/none.hpp"\n', 1, "no file of csrc/"),
    ("csrc/kernels/x.hpp", '#include "base/arena.hpp"\n', 1, "may include base/types.hpp of base/"),
    ("csrc/kernels/x.hpp", '#include "simd/cpu.hpp"\n', 1, "may include simd/simd.hpp"),
    ("csrc/simd/x.hpp", '#include "base/check.hpp"\n', 1, "may include base/types.hpp"),
    ("csrc/base/x.hpp", '#include "simd/cpu.hpp"\n', 1, "may include nothing of simd/"),
    ("csrc/program/x.cpp", '#include "kernels/math.hpp"\n', 1, "may include kernels/table.hpp"),
    ("csrc/program/x.cpp", '#include "simd/simd.hpp"\n', 1, "may include simd/cpu.hpp"),
    ("src/thalweg/x.py", '"""X."""\nfrom tests.reference import adam\n', 2, "upstairs"),
    ("src/thalweg/x.py", '"""X."""\n\n\ndef f():\n    """F."""\n    import benchmarks.peers\n', 6, "upstairs"),
    ("src/thalweg/x.py", '"""X."""\nfrom thalweg.bench.works import WORKS\n', 2, "by cli.py only"),
    ("src/thalweg/x.py", '"""X."""\n\n\ndef f():\n    """F."""\n    from thalweg import bench\n', 6, "by cli.py only"),
    ("src/thalweg/bench/x.py", '"""X."""\nfrom benchmarks import race\n', 2, "upstairs"),
    # threads
    ("csrc/program/x.cpp", "void f() {\n#pragma omp parallel\n}\n", 2, "threads.hpp"),
    ("csrc/program/x.cpp", "int n = omp_get_max_threads();\n", 1, "threads.hpp"),
    ("csrc/kernels/x.hpp", "#include <omp.h>\n", 1, "threads.hpp"),
    ("csrc/program/x.cpp", "std::thread t;\n", 1, "threads.hpp"),
    # instructions and CPUs
    ("csrc/kernels/x.hpp", "auto x = _mm256_setzero_ps();\n", 1, "belongs to simd/"),
    ("csrc/kernels/x.hpp", "__m512d x;\n", 1, "belongs to simd/"),
    ("csrc/program/x.cpp", "#include <immintrin.h>\n", 1, "belongs to simd/"),
    ("csrc/isa/x.cpp", "#include <arm_neon.h>\n", 1, "belongs to simd/"),
    ("csrc/kernels/x.hpp", 'void f() { asm volatile("nop"); }\n', 1, "simd/ or isa/"),
    ("csrc/program/x.cpp", "#include <cpuid.h>\n", 1, "belongs to isa/"),
    ("csrc/kernels/x.hpp", 'bool b = __builtin_cpu_supports("avx2");\n', 1, "belongs to isa/"),
    ("csrc/kernels/x.hpp", "#ifdef __AVX512F__\n#endif\n", 1, "name of an ISA"),
    ("csrc/program/x.cpp", "if (avx2) {}\n", 1, "name of an ISA"),
    # std, memory, errors, output
    ("csrc/kernels/x.hpp", "std::vector<float> v;\n", 1, "std::vector"),
    ("csrc/simd/x.hpp", "float f(float a) { return std::min(a, a); }\n", 1, "std::min"),
    ("csrc/isa/avx2.cpp", "std::string s;\n", 1, "std::string"),
    ("csrc/kernels/x.hpp", "#include <algorithm>\n", 1, "a kernel includes"),
    ("csrc/kernels/x.hpp", "using namespace std;\n", 1, "std is for baseline"),
    ("csrc/kernels/x.hpp", "float* f() { return new float[3]; }\n", 1, "neither allocate"),
    ("csrc/kernels/x.hpp", "void f() { throw 1; }\n", 1, "neither allocate"),
    ("csrc/simd/x.hpp", "void f() { try { g(); } catch (...) {} }\n", 1, "neither allocate"),
    ("csrc/kernels/x.hpp", "void* p = malloc(3);\n", 1, "base/arena.hpp"),
    ("csrc/program/x.cpp", "void* p = std::calloc(3, 4);\n", 1, "base/arena.hpp"),
    ("csrc/program/program.cpp", "void f() { throw 1; }\n", 1, "after a plan"),
    ("csrc/program/bind.cpp", "void f() { require(true); }\n", 1, "after a plan"),
    ("csrc/program/x.cpp", 'void f() { printf("x"); }\n', 1, "neither prints"),
    ("csrc/base/x.hpp", "void f() { std::cout << 1; }\n", 1, "neither prints"),
    ("csrc/program/x.cpp", "void f() { std::abort(); }\n", 1, "nor aborts"),
    ("csrc/program/program.cpp", "void f(char* s) { std::snprintf(s, 1, s); }\n", 1, "text is made"),
    # arithmetic
    ("csrc/program/x.cpp", "double x = std::exp(1.0);\n", 1, "of libm only sqrt"),
    ("csrc/program/x.cpp", "double x = log1p(1.0);\n", 1, "of libm only sqrt"),
    ("csrc/kernels/x.hpp", "float x = expf(1);\n", 1, "of libm only sqrt"),
    ("csrc/kernels/x.hpp", "float x = __builtin_tanhf(1);\n", 1, "of libm only sqrt"),
    ("csrc/base/x.hpp", "#include <math.h>\n", 1, "of libm only sqrt"),
    ("csrc/base/x.hpp", "int x = rand();\n", 1, "base/rng.hpp"),
    ("csrc/kernels/x.hpp", '#pragma GCC optimize("fast-math")\n', 1, "CMakeLists.txt"),
    ("CMakeLists.txt", CLEAN["CMakeLists.txt"] + "add_compile_options(-ffast-math)\n", None, "-ffast-math"),
    ("CMakeLists.txt", CLEAN["CMakeLists.txt"] + "add_compile_options(-O3 -march=native)\n", None, "-march=native"),
    ("CMakeLists.txt", CLEAN["CMakeLists.txt"] + "set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)\n", None, "INTERPROC"),
    ("CMakeLists.txt", CLEAN["CMakeLists.txt"].replace("-ffp-contract=off", ""), 1, "without -ffp-contract=off"),
    ("CMakeLists.txt", CLEAN["CMakeLists.txt"].replace("-fno-exceptions", ""), 1, "without -fno-exceptions"),
    # docstrings and names
    ("src/thalweg/x.py", "def _f():\n    pass\n", 1, "the module has no docstring"),
    ("src/thalweg/x.py", '"""X."""\n\n\ndef f():\n    pass\n', 4, "f is public"),
    ("src/thalweg/bench/x.py", "def _f():\n    pass\n", 1, "the module has no docstring"),
    ("src/thalweg/bench/x.py", '"""X."""\n\n\ndef _f():\n' + "    pass\n" * 40, 4, "at most 40"),
    ("src/thalweg/x.py", '"""X."""\n\n\nclass C:\n    """C."""\n\n    def m(self):\n        pass\n', 7, "C.m is public"),
    ("src/thalweg/__init__.py", '"""X."""\n__all__ = ["adam"]\n', 2, "adam is in __all__ and nowhere else"),
    ("src/thalweg/__init__.py", '"""X."""\nimport numpy\n__all__ = []\n', 2, "numpy is public"),
    # the door
    ("src/thalweg/_native.pyx", 'cdef extern from "kernels/math.hpp":\n    pass\n', 1, "the door may include kernels/table"),
    ("src/thalweg/_native.pyx", '\ncdef extern from "program/none.hpp":\n    pass\n', 2, "no file of csrc/"),
    ("src/thalweg/_native.pyx", "cimport numpy as np\n", 1, "not NumPy"),
    ("src/thalweg/_native.pyx", "def f(n):\n    for i in range(n):\n        pass\n", 2, "no loops over data"),
    ("src/thalweg/_native.pyx", "def f(double[::1] x):\n    for v in x:\n        pass\n", 2, "no loops over data"),
    ("src/thalweg/_native.pyx", "def f():\n    while True:\n        pass\n", 2, "no loops over data"),
    ("src/thalweg/_native.pyx", "for i in prange(8):\n    pass\n", 1, "no loops over data"),
    # the tree
    ("setup.cfg", "", 0, "no room"),
    ("csrc/util/x.hpp", "", 0, "csrc has the rooms"),
    ("csrc/kernels/x.hpp", "// TODO: faster\n", 1, "without a condition"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "text", "line", "what"), BREACHES, ids=[f"{i}-{b[3]}" for i, b in enumerate(BREACHES)]
)
def test_planted_breach_is_found(house, file, text, line, what):
    found = [breach for breach in house({file: text}) if what in breach.what or what in str(breach)]
    assert len(found) >= 1, f"nothing about {what!r}"
    assert file.startswith(found[0].file)
    assert line is None or found[0].line == line


@pytest.mark.parametrize("file", ["csrc/kernels/x.hpp", "csrc/program/x.cpp", "csrc/simd/x.hpp", "csrc/base/x.hpp",
                                  "csrc/isa/avx2.cpp", "src/thalweg/_native.pyx", "src/thalweg/x.py",
                                  "src/thalweg/bench/x.py", "src/thalweg/trainer.py", "CMakeLists.txt"])  # fmt: skip
def test_file_may_have_so_many_lines_and_no_more(house, file):
    most, _ = rooms.limits_of(file)
    first = CLEAN[file] if file == "CMakeLists.txt" else '"""X."""\n' if file.endswith(".py") else ""
    for lines in (most, most + 1):
        text = first + "\n" * (lines - first.count("\n"))
        found = [breach for breach in house({file: text}) if breach.file == file]
        assert [breach.line for breach in found] == ([lines] if lines > most else [])


@pytest.mark.parametrize(
    ("file", "head", "tail", "line", "name"),
    [
        ("csrc/kernels/x.hpp", "void f() {", "}", 1, "f()"),
        ("csrc/kernels/x.hpp", "template <class T>\nT C<T>::f(int x) const noexcept {", "}", 2, "f()"),
        ("csrc/kernels/x.hpp", "template <class T, int n>\nauto f(T (&x)[n]) -> Vec<T> {", "}", 2, "f()"),
        ("csrc/program/x.cpp", "namespace thalweg {\nC::C(int x) : a_(x), b_{x} {", "}\n}", 2, "C()"),
        ("csrc/program/x.cpp", "struct alignas(64) S {\nvoid operator()(int x) {", "}\n};", 2, "operator()()"),
        ("csrc/program/x.cpp", "enum class E { a };\nconst int x[] = {1, 2};\nbool S::is() const {", "}", 3, "is()"),
        ("csrc/simd/x.hpp", "inline S operator+(S a, S b) {", "}", 1, "operator+()"),
        ("csrc/base/x.hpp", "int f(int x) {", "}", 1, "f()"),
        (
            "src/thalweg/_native.pyx",
            "cdef class C:\n    cdef int f(self,\n          int x) noexcept:",
            "  return 1",
            2,
            "f()",
        ),
    ],
)
def test_function_may_have_so_many_lines_and_no_more(house, file, head, tail, line, name):
    _, most = rooms.limits_of(file)
    around = (line - 1) + tail.count("\n")  # lines of head and tail that are not the function's
    for lines in (most, most + 1):
        body = "        g();" if file.endswith("pyx") else "  g();"
        count = lines - (head.count("\n") + 1 + tail.count("\n") + 1 - around)
        tail_line = "        return 1" if file.endswith("pyx") else tail
        found = house({file: "\n".join([head, *[body] * count, tail_line]) + "\n"})
        assert [breach.line for breach in found] == ([line] if lines > most else [])
        assert all(breach.what.startswith(f"{name} has {lines} lines") for breach in found)


def test_method_may_have_so_many_lines_beside_its_docstring(house):
    for lines in (40, 41):
        found = house({"src/thalweg/x.py": long_method(lines)})
        assert [str(breach)[:38] for breach in found] == (
            ["src/thalweg/x.py:7: method() has 41 li"] if lines > 40 else []
        )


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("csrc/kernels/x.hpp", "// TODO: faster when a CPU with more registers is met\n"),
        ("csrc/program/x.cpp", "struct S {\n" + "  int a;\n" * 60 + "};\n"),  # a type is no function
        ("csrc/program/x.cpp", "const int names[] = {\n" + "  1,\n" * 60 + "};\n"),  # nor is a list
        (
            "src/thalweg/x.py",
            '"""X."""\n\n\nclass C:\n    """C."""\n\n    @x.setter\n    def x(self, x):\n        pass\n',
        ),
    ],
)
def test_what_is_allowed_is_not_reported(house, file, text):
    assert house({file: text}) == []


def test_command_prints_file_and_line_and_fails(house):
    house({"csrc/kernels/x.hpp": "\nstd::vector<float> v;\n"})
    command = [sys.executable, str(SCRIPT), "--root", str(house.root)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout.startswith("csrc/kernels/x.hpp:2: std::vector: ")


def test_command_says_one_line_when_all_is_well(house):
    house({})
    command = [sys.executable, str(SCRIPT), "--root", str(house.root)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(result.stdout.splitlines()) == 1


def test_statistics_count_functions(house, capsys):
    house({"csrc/kernels/x.hpp": "struct S {\n  int f() { return 1; }\n};\n" + long_function(9)})
    assert rooms.main(["--root", str(house.root), "--statistics"]) == 0
    kernels = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("kernels"))
    assert kernels.split()[1:6] == ["3", "21", "4", "1", "9"]
