/* How fast the cores multiply and add right now: independent chains of FMAs in registers, on every thread at once. */

#include <omp.h>

#if defined(__AVX512F__)
enum { bytes = 64, chains = 16 };
#elif defined(__AVX__)
enum { bytes = 32, chains = 12 };
#else
enum { bytes = 16, chains = 12 };
#endif
typedef float vector __attribute__((vector_size(bytes)));

static float chase(long rounds, float factor, float term) {
  vector sums[chains], factors = factor - (vector){0}, terms = term - (vector){0};
  for (int c = 0; c < chains; ++c) sums[c] = terms * (float)c;
  for (long n = 0; n < rounds; ++n) {
#pragma GCC unroll 16
    for (int c = 0; c < chains; ++c) sums[c] = sums[c] * factors + terms;
  }
  float sum = 0;
  for (int c = 0; c < chains; ++c) sum += sums[c][0];
  return sum;
}

/* GFLOP/s of float32. `kept` takes the sum, so that no compiler drops the work. */
double fma_gflops(int threads, long rounds, float* kept) {
  double begun = 0, ended = 0;
  float sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
  {
#pragma omp barrier
#pragma omp master
    begun = omp_get_wtime();
    sum += chase(rounds, 0.999f, 1e-3f);
#pragma omp barrier
#pragma omp master
    ended = omp_get_wtime();
  }
  *kept = sum;
  return 2e-9 * threads * chains * (bytes / sizeof(float)) * rounds / (ended - begun);
}

/* Give the workers back: they would spin on for milliseconds beside whoever is measured next. */
void rest(void) { (void)omp_pause_resource_all(omp_pause_soft); }
