#include "perf/pair/baton_subject.h"

#include <algorithm>
#include <string>
#include <utility>

#include "perf/pair/exit_code.h"

namespace baton_perf {

using baton::Event;
using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

// Past the library's own deadline of a transfer, so that its verdict comes first.
constexpr uint32_t kTransferTimeoutMs = 60'000;
constexpr uint32_t kBusyTries = 10'000;

}  // namespace

BatonSubject::BatonSubject(const Options& options, baton::Context& context, EventInbox& inbox,
                           const Places& places)
    : options_(options), context_(context), inbox_(inbox), places_(places) {
  request_.grant = options.grant;
  request_.local_section = options.local_section;
  request_.remote_section = options.remote_section;
  request_.runs.resize(places.shape().runs_per_batch);
  outstanding_.reserve(options.in_flight);
}

Status BatonSubject::submit(uint64_t index) {
  const bool write = options_.operation == Operation::kWrite;
  const std::span<const Place> places = places_.batch(index);
  for (size_t i = 0; i < places.size(); ++i) {
    const Place& place = places[i];
    request_.runs[i] = {write ? place.source_offset_bytes : place.target_offset_bytes,
                        write ? place.target_offset_bytes : place.source_offset_bytes,
                        places_.shape().run_bytes};
  }
  for (uint32_t tries = 0;; ++tries) {
    Result<baton::Transfer> transfer = write ? context_.write(request_) : context_.read(request_);
    if (transfer.is_ok()) {
      outstanding_.push_back({index, std::move(*transfer)});
      return Status::ok();
    }
    if (transfer.code() != StatusCode::kBusy || tries == kBusyTries) {
      return lost_if_gone(transfer.status());
    }
    inbox_.pump(1);
  }
}

Result<uint64_t> BatonSubject::wait_one() {
  const Result<Event> event = inbox_.wait(baton::EventKind::kTransferEnded, kTransferTimeoutMs);
  if (!event.is_ok()) return event.status();
  const auto found = std::find_if(
      outstanding_.begin(), outstanding_.end(),
      [&](const Outstanding& entry) { return entry.transfer.id() == event->transfer; });
  if (found == outstanding_.end()) {
    return {StatusCode::kInternal, "transfer " + std::to_string(event->transfer.value) +
                                       " ended, which is not outstanding"};
  }
  const uint64_t index = found->index;
  if (found != outstanding_.end() - 1) *found = std::move(outstanding_.back());
  outstanding_.pop_back();
  if (!event->status.is_ok()) return event->status;
  return index;
}

}  // namespace baton_perf
