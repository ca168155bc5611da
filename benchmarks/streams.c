/* How fast the streams of an optimizer can flow: the same arrays are read and written, with next to no arithmetic. Every
   element is read once and written once: read again after a write it would wait for that write. */

#include <omp.h>

#define EVERY(n) _Pragma("omp parallel for simd schedule(static) num_threads(threads)") for (long i = 0; i < n; ++i)

/* Reads three arrays and writes two of them, as SGD with momentum does. */
void momentum_streams(float* w, const float* g, float* b, long n, int threads) {
  EVERY(n) {
    const float w_i = w[i], b_i = 0.9f * b[i] + g[i];
    b[i] = b_i;
    w[i] = w_i - 1e-3f * b_i;
  }
}

/* Reads four arrays and writes three of them, as Adam does; without its root and its division. */
void adam_streams(float* w, const float* g, float* m, float* v, long n, int threads) {
  EVERY(n) {
    const float w_i = w[i], g_i = g[i], m_i = 0.9f * m[i] + 0.1f * g_i, v_i = 0.999f * v[i] + 0.001f * g_i * g_i;
    m[i] = m_i;
    v[i] = v_i;
    w[i] = w_i - 1e-3f * m_i * v_i;
  }
}
