// Large batches of small networks, whose values take longer to travel to memory and back than to multiply: threads take
// chunks of rows, one after another, and each makes all of its chunks' gradients by itself. Values and their gradients stay
// in cache, and nobody waits for a core that stands still. What updates comes once, after all chunks.
#pragma once

#include "program/spec.hpp"

namespace thalweg {

// Whether that is worth it, and possible: nothing crosses rows but the sums of losses and of dense layers' gradients. Of more
// threads each one's share of a whole batch fits its cache.
bool may_chunk(const Spec& spec, int threads);

// The same job in chunks. Gradients are kept, since no chunk but the last could update.
Spec chunked(Spec spec);

// Of each thread: how many chunks' gradients may wait until it is their turn to be added.
constexpr Index waiting_sums = 2;

}  // namespace thalweg
