// The verified pass: the source filled, the target poisoned, and afterwards every byte of the
// target compared, those that no run named and the guard bytes included.
//
// Thread rule: pure functions on the caller's buffers.
#pragma once

#include <cstdint>

#include "baton/status.h"
#include "perf/lib/buffer.h"
#include "perf/lib/places.h"

namespace baton_perf {

// Batches of a verified pass: about half of the places, so that the other half of the target,
// strewn between the runs, shows a byte that lands where none should.
uint64_t batches_to_verify(const Places& places);

void prepare_source(Buffer& source, uint64_t seed);
void prepare_target(Buffer& target);

// Compares the target after batches [0, batches_to_verify). Returns the payload bytes that were
// compared; kInternal: which run, offset, and what was expected there.
baton::Result<uint64_t> verify_target(const Buffer& target, const Places& places, uint64_t seed);

}  // namespace baton_perf
