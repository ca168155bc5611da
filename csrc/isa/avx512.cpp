// The kernels pressed for one ISA. The compiler's flags name the instructions: CMakeLists.txt.
#define THALWEG_ISA avx512
#define THALWEG_VECTOR_BYTES 64
#include "kernels/all.hpp"
