// require(condition, "text ", value, ...): throws std::invalid_argument, which reaches Python as ValueError.
#pragma once

#include <sstream>
#include <stdexcept>

namespace thalweg {

template <class... Parts>
inline void require(bool condition, const Parts&... parts) {
  if (condition) return;
  std::ostringstream text;
  (text << ... << parts);
  throw std::invalid_argument(text.str());
}

}  // namespace thalweg
