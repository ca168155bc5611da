"""What the linker and the CPU see: no ISA's code leaks into another's, and baseline code runs on every x86-64.

Each source is compiled here with the flags of CMakeLists.txt; .ci/rooms.py reads flags and objects.
"""

import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from thalweg import _native

rooms = pytest.importorskip("test_rooms", reason="the tests stand apart from the tree").rooms
ROOT = rooms.ROOT
X86 = platform.machine() in ("x86_64", "AMD64")
COMPILER = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")

if COMPILER is None:
    pytest.skip("no C++ compiler to make objects with", allow_module_level=True)
if not all(map(shutil.which, ["nm", "objdump", "c++filt"])):
    pytest.skip("no binutils to read objects with", allow_module_level=True)

UNITS = rooms.compile_units((ROOT / "CMakeLists.txt").read_text(), X86)
x86_only = pytest.mark.skipif(not X86, reason="about instructions of x86-64")


def compile_unit(unit, folder):
    """Compile a source as CMake does."""
    path = folder / f"{Path(unit.source).name}.o"
    subprocess.run([COMPILER, *unit.flags, "-c", unit.source, "-o", path], cwd=ROOT, check=True)
    return path


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Compile all of csrc; from sources to objects."""
    folder = tmp_path_factory.mktemp("objects")
    with ThreadPoolExecutor(2) as pool:
        paths = pool.map(lambda unit: compile_unit(unit, folder), UNITS)
    return dict(zip([unit.source for unit in UNITS], paths, strict=True))


@pytest.fixture
def plant(tmp_path):
    """Compile a planted text, for an ISA ("" for baseline)."""

    def compile_text(text, isa="", more=()):
        (tmp_path / "planted.cpp").write_text(text)
        unit = next(unit for unit in UNITS if unit.isa == isa)
        return compile_unit(rooms.Unit(str(tmp_path / "planted.cpp"), (*unit.flags, *more), isa), tmp_path)

    return compile_text


def text_of(breaches):
    """Return breaches as lines, for messages."""
    return "\n".join(map(str, breaches))


# ---- the objects of this tree -------------------------------------------------------------------------------------


def test_all_sources_are_compiled():
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob("*.cpp")}
    assert X86 is False or {unit.source for unit in UNITS} == sources


@pytest.mark.parametrize("unit", [u for u in UNITS if u.isa], ids=lambda unit: unit.isa)
def test_nothing_leaks_from_an_isa(objects, unit):
    found = list(rooms.check_isa_object(objects[unit.source], unit.isa))
    assert not found, text_of(found)


@x86_only
@pytest.mark.parametrize("unit", [u for u in UNITS if u.isa in ("", "scalar")], ids=lambda unit: unit.source)
def test_baseline_code_runs_on_every_cpu(objects, unit):
    found = list(rooms.check_baseline_object(objects[unit.source]))
    assert not found, text_of(found)


@x86_only
@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_check_of_instructions_can_fail(objects, isa):
    assert list(rooms.check_baseline_object(objects[f"csrc/isa/{isa}.cpp"]))


def test_extension_asks_little_of_the_system():
    found = list(rooms.check_extension(Path(_native.__file__)))
    assert not found, text_of(found)


# ---- planted leaks ------------------------------------------------------------------------------------------------

VECTOR = """
#include <vector>
namespace thalweg::scalar {
int count(std::vector<float>& v) { v.push_back(1); return static_cast<int>(v.size()); }
}
"""
MERGED = """
namespace thalweg {
inline int shared(int x) { return x * x; }
namespace scalar { int (*pointer)(int) = shared; }
}
"""
LIBM = "#include <cmath>\nnamespace thalweg::scalar { float f(float x) { return std::exp(x); } }\n"
NEW = "namespace thalweg::scalar { float* f(int n) { return new float[n]; } }\n"
OTHERS = "namespace thalweg::avx2 { int f(int x) { return x; } }\n"
GLOBAL = 'extern "C" int f(int x) { return x; }\n'
CLEAN = """
namespace thalweg { struct Range { long begin, end; }; }
namespace thalweg::scalar {
template <class T> struct Vec { T x; };
template <class T> Vec<T> twice(Vec<T> v) { return {v.x + v.x}; }
template <class Body> void with(Body&& body) { body(1.0f); }
float f(const Range& r) {
  static const float table[] = {1, 2, 3};
  float y = table[r.begin % 3];
  with([&](auto z) { y += twice(Vec<float>{z}).x; });
  return y;
}
extern const long sizes[2];
const long sizes[2] = {1, 2};
template Vec<double> twice(Vec<double>);
}
"""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (VECTOR, "std::vector<float"),
        (VECTOR, "operator new|_Znwm"),
        (MERGED, r"thalweg::shared\(int\)"),
        (LIBM, "needs expf"),
        (NEW, "_Znam"),
        (OTHERS, r"thalweg::avx2::f\(int\)"),
        (GLOBAL, "shows f,"),
    ],
    ids=["vector", "memory of a vector", "inline function", "libm", "new", "another ISA", "extern C"],
)
def test_planted_leak_is_found(plant, text, what):
    found = text_of(rooms.check_isa_object(plant(text, "scalar"), "scalar"))
    assert rooms.re.search(what, found), found or "nothing found"


def test_clean_kernel_is_not_reported(plant):
    found = list(rooms.check_isa_object(plant(CLEAN, "scalar"), "scalar"))
    assert not found, text_of(found)


LOOP = "void f(float* y, const float* x, int n) { for (int i = 0; i < n; ++i) y[i] = __builtin_floorf(x[i]) * 3; }\n"
BITS = "int f(unsigned x, unsigned y) { return __builtin_popcount(x & ~y); }\n"


@x86_only
@pytest.mark.parametrize(
    ("text", "flags"),
    [(LOOP, ["-mavx2"]), (LOOP, ["-mavx512f"]), (LOOP, ["-msse4.1"]), (BITS, ["-mpopcnt"]), (BITS, ["-mbmi"])],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_planted_newer_instruction_is_found(plant, text, flags):
    assert list(rooms.check_baseline_object(plant(text, "", flags)))
    assert not list(rooms.check_baseline_object(plant(text, "")))


def test_planted_wishes_of_an_extension_are_found(tmp_path):
    (tmp_path / "x.cpp").write_text('#include <cmath>\nextern "C" double shown(double x) { return std::pow(x, x); }\n')
    command = [COMPILER, "-O2", "-shared", "-fPIC", tmp_path / "x.cpp", "-o", tmp_path / "x.so", "-lm"]
    subprocess.run(command, check=True)
    found = text_of(rooms.check_extension(tmp_path / "x.so"))
    assert "needs pow of libm" in found
    assert "shows shown" in found
