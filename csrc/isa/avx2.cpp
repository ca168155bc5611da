// The kernels pressed for one ISA. The compiler's flags name the instructions: CMakeLists.txt.
#define THALWEG_ISA avx2
#define THALWEG_VECTOR_BYTES 32
#include "kernels/all.hpp"
