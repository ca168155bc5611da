// Which ISAs were built, which this CPU can run, and the table of one of them.
#pragma once

#include <string>
#include <vector>

#include "base/types.hpp"
#include "kernels/table.hpp"

namespace thalweg {

// Names of the ISAs that were built and that this CPU and its operating system support, best first.
std::vector<std::string> supported_isas();

// The table of an ISA. Throws std::invalid_argument, listing what there is, where it is unknown or unsupported.
const KernelTable& select_table(const std::string& isa, DType dtype);

}  // namespace thalweg
