// MeterTable: the meters of every peer name, and the bound on how many there are.
//
// Invariants:
//  1. Meters that somebody may still write to are in the table under their name.
//  2. Beside them at most kGonePeersKept of peers that are gone are kept, those that left last; the
//     counts of the others were added to those of kFoldedPeers.
//
// Thread rule: thread-safe; one mutex, control-rate.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "baton/metrics.h"
#include "src/base/meters.h"

namespace baton::api {

class MeterTable {
 public:
  // A connection to `name` is up: its meters, as it left them.
  std::shared_ptr<base::PeerMeters> open(const std::string& name);
  // It is down. Once for each open().
  void close(const std::string& name);
  // By name; the folded ones last, when there are any. `quarantined_*` of now are left 0.
  std::vector<PeerMetrics> read() const;
  size_t size() const;

 private:
  struct Entry {
    std::shared_ptr<base::PeerMeters> meters;
    uint32_t connections = 0;
    uint64_t left = 0;  // when the last connection went: a number that rises
  };

  void fold_oldest();

  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;  // guarded by mutex_, as all below
  std::map<uint64_t, std::string> gone_;  // by Entry::left
  uint64_t last_left_ = 0;
  std::shared_ptr<base::PeerMeters> folded_;
};

}  // namespace baton::api
