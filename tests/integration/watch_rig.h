// What the tests of metrics and dumps share: two Contexts and one hand-off between them.
#pragma once

#include <string>
#include <vector>

#include "tests/integration/rig.h"
#include "tests/support/test_seed.h"

namespace baton_test {

// All of a hand-off of 16 blocks.
inline constexpr baton::TokenRange kWatchTokens{0, 256};

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class Watch {
 public:
  explicit Watch(const ContextPair::Options& options, const PoolShape& shape = {})
      : pair(options), source(shape), target(shape) {
    source.memory().fill_pattern(test_seed());
    source.publish(pair.prefill(), "kv");
    target.publish(pair.decode(), "kv");
    pair.connect();
    blocks = pick_blocks(16, 32, test_seed());
  }

  void begin(const std::string& tag) {
    baton::GrantRequest request;
    request.peer = pair.prefill_peer();
    request.cache = target.cache();
    request.source_cache = "kv";
    request.tag = tag;
    request.tokens = kWatchTokens;
    request.block_lists = {blocks};
    grant = require(pair.decode().grant(request), "grant");
  }
  void push(const std::string& tag) {
    const auto offer = require(pair.prefill().wait_offer(tag, 20000), "wait_offer");
    baton::PushRequest request;
    request.grant = offer.id;
    request.cache = source.cache();
    request.block_lists = {blocks};
    transfer = require(pair.prefill().push(request), "push");
  }
  // `context` has reported its end: it is counted.
  static void see_end(baton::Context& context, baton::EventKind kind) { next_event(context, kind); }

  ContextPair pair;
  Pool source;
  Pool target;
  std::vector<uint32_t> blocks;
  baton::Grant grant;
  baton::Transfer transfer;
};

}  // namespace baton_test
