// BatonSubject: Baton itself, moving batches by Context::write or Context::read under a range
// grant.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "baton/context.h"
#include "perf/lib/places.h"
#include "perf/lib/subject.h"
#include "perf/pair/event_inbox.h"

namespace baton_perf {

class BatonSubject final : public Subject {
 public:
  struct Options {
    Operation operation = Operation::kWrite;
    uint32_t in_flight = 1;
    baton::GrantId grant;
    baton::SectionId local_section;
    baton::SectionId remote_section;
  };

  // All outlive the subject.
  BatonSubject(const Options& options, baton::Context& context, EventInbox& inbox,
               const Places& places);

  std::string_view name() const override { return "baton"; }
  baton::Status submit(uint64_t index) override;
  baton::Result<uint64_t> wait_one() override;

 private:
  struct Outstanding {
    uint64_t index = 0;
    baton::Transfer transfer;
  };

  const Options options_;
  baton::Context& context_;
  EventInbox& inbox_;
  const Places& places_;
  baton::RawRequest request_;
  std::vector<Outstanding> outstanding_;
};

}  // namespace baton_perf
