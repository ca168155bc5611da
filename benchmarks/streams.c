/* How fast the streams of an optimizer can flow: the same arrays are read and written, with next to no arithmetic. */

#include <omp.h>

#define EVERY(n) _Pragma("omp parallel for simd schedule(static) num_threads(threads)") for (long i = 0; i < n; ++i)

/* Reads three arrays and writes two of them, as SGD with momentum does. */
void momentum_streams(float* w, const float* g, float* b, long n, int threads) {
  EVERY(n) {
    b[i] = 0.9f * b[i] + g[i];
    w[i] -= 1e-3f * b[i];
  }
}

/* Reads four arrays and writes three of them, as Adam does; without its root and its division. */
void adam_streams(float* w, const float* g, float* m, float* v, long n, int threads) {
  EVERY(n) {
    m[i] = 0.9f * m[i] + 0.1f * g[i];
    v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
    w[i] -= 1e-3f * m[i] * v[i];
  }
}
