// Asks the CPU. Built at the baseline and without any ISA's header: this code runs everywhere.
#include "isa/select.hpp"

#include "base/check.hpp"

#if defined(THALWEG_X86)
#include <cpuid.h>
#endif

namespace thalweg {

namespace scalar {
extern const KernelTable tables[2];
}
#if defined(THALWEG_X86)
namespace avx2 {
extern const KernelTable tables[2];
}
namespace avx512 {
extern const KernelTable tables[2];
}
#endif

namespace {

#if defined(THALWEG_X86)
struct Registers {
  unsigned a, b, c, d;
};

Registers cpuid(unsigned leaf) {
  Registers r{};
  __get_cpuid_count(leaf, 0, &r.a, &r.b, &r.c, &r.d);
  return r;
}

// The register states that the operating system saves (XCR0). Only where CPUID says that xgetbv exists.
std::uint64_t saved_states() {
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t(high) << 32 | low;
}

constexpr unsigned bit(int i) { return 1u << i; }
constexpr bool all(std::uint64_t have, std::uint64_t wanted) { return (have & wanted) == wanted; }

bool has_avx2() {
  const unsigned c1 = cpuid(1).c;
  constexpr unsigned fma = bit(12), osxsave = bit(27), avx = bit(28), ymm = bit(1) | bit(2);
  return all(c1, fma | osxsave | avx) && all(saved_states(), ymm) && all(cpuid(7).b, bit(5));
}

bool has_avx512() {
  constexpr unsigned f = bit(16), dq = bit(17), cd = bit(28), bw = bit(30), vl = bit(31);
  constexpr unsigned zmm = bit(1) | bit(2) | bit(5) | bit(6) | bit(7);
  return has_avx2() && all(saved_states(), zmm) && all(cpuid(7).b, f | dq | cd | bw | vl);
}
#endif

bool always() { return true; }

struct Isa {
  const char* name;
  bool (*runs)();
  const KernelTable* tables;
};

const Isa built[] = {  // best first
#if defined(THALWEG_X86)
    {"avx512", has_avx512, avx512::tables},
    {"avx2", has_avx2, avx2::tables},
#endif
    {"scalar", always, scalar::tables},
};

// Those that run here, best first. Asked once: in a virtual machine every question to the CPU takes microseconds.
const std::vector<Isa>& supported() {
  static const std::vector<Isa> isas = [] {
    std::vector<Isa> found;
    for (const Isa& isa : built)
      if (isa.runs()) found.push_back(isa);
    return found;
  }();
  return isas;
}

}  // namespace

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : supported()) names.push_back(isa.name);
  return names;
}

const KernelTable& select_table(const std::string& isa, DType dtype) {
  std::string there_are;
  for (const Isa& candidate : supported()) {
    if (isa == candidate.name) return candidate.tables[static_cast<int>(dtype)];
    there_are += std::string(there_are.empty() ? "" : ", ") + candidate.name;
  }
  throw std::invalid_argument("ISA '" + isa + "' is unknown or not supported by this CPU; there are: " + there_are);
}

}  // namespace thalweg
