// The kernels pressed for one ISA. The compiler's flags name the instructions: CMakeLists.txt.
#define THALWEG_ISA scalar
#define THALWEG_VECTOR_BYTES 16
#include "kernels/all.hpp"
