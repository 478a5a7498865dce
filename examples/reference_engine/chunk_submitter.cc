#include "examples/reference_engine/chunk_submitter.h"

#include "examples/reference_engine/engine_interrupt.h"

namespace baton_engine {

namespace {

constexpr uint32_t kLookAgainMs = 1;

}  // namespace

baton::Status ChunkSubmitter::add(uint32_t end_token) {
  // Tokens left over from before are final already, so the layers of the new ones speak for both.
  const baton::Status status =
      outgoing_.submit_chunk({{submitted_end_, end_token}, &word_, word_.value()});
  if (status.code() == baton::StatusCode::kBusy) return baton::Status::ok();
  if (status.is_ok()) submitted_end_ = end_token;
  return status;
}

baton::Status seal_when_room(Outgoing& outgoing) {
  while (true) {
    const baton::Status status = outgoing.seal();
    if (status.code() != baton::StatusCode::kBusy) return status;
    if (interrupted()) return {baton::StatusCode::kCancelled, "interrupted"};
    // No event tells of room, so this looks again in a moment, or as soon as the hand-off has
    // ended.
    outgoing.wait(kLookAgainMs).ignore();
  }
}

}  // namespace baton_engine
