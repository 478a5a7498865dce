// SoakDecode: the decode process of a soak, and its judge. Round by round it grants pages for one
// to four requests, asks prefill for them, and generates from each as its layers arrive; some are
// cancelled, by either side, at a moment of the seed's choice, and now and then the prefill process
// is killed and started again under its name.
//
// What must hold, or the soak ends at once with what did not:
//  - what was not cancelled or killed is done; its tokens, logits and KV bytes are those of a run
//    by one process alone
//  - what was ends by its own code, or done
//  - pages are poison when they are given out: nothing landed after their Grant had ended
//  - both processes hold as many descriptors, threads and mappings at the end as after a warm-up,
//    all pages are free, every request had one event, and no child was left a zombie
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "examples/reference_engine/engine_generate.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/sequence.h"
#include "tests/soak/process_numbers.h"
#include "tests/soak/soak_options.h"
#include "tests/support/child_process.h"

namespace baton_soak {

class SoakDecode {
 public:
  explicit SoakDecode(const SoakOptions& options);

  // Empty when all held.
  std::string run();
  nlohmann::json summary() const;

 private:
  // What becomes of a request, beside a kill.
  enum class Fate : uint8_t {
    kNone,
    kDecodeBeforeAsking,  // the Grant is cancelled, and prefill never hears of the request
    kDecodeAfterAsking,
    kDecodeAtLayer,
    kPrefillAtLayer,
  };
  struct Prompt {
    std::vector<uint32_t> tokens;
    std::optional<baton_engine::Sequence> alone;  // after the same generation by one process
    baton_engine::Generation generation;
  };
  struct Open {
    SoakRequest request;
    size_t prompt = 0;
    Fate fate = Fate::kNone;
    uint32_t layer = 0;
    std::optional<baton_engine::Sequence> sequence;
    baton::Grant grant;
  };
  class Hooks;

  std::string prepare();
  std::string start_child();
  std::string stop_child();
  // Waits until the child is at rest, and checks its pages; its numbers from its warm-up on.
  std::string check_child();
  std::string round();
  std::string ask(Open& open);
  baton::Status withdraw(const Open& open);
  std::string finish(Open& open);
  std::string judge(Open& open, const baton::Status& grant_end,
                    const baton::Result<baton_engine::Generation>& generation);
  std::string compare(const Open& open, const baton_engine::Generation& generation);
  std::string check_events();
  std::string check_end();
  void kill_child();
  uint64_t chance(uint64_t below) { return random_() % below; }
  void show_progress();

  SoakOptions options_;
  std::mt19937_64 random_;
  baton_engine::EngineOptions engine_options_ = engine_options();
  baton_engine::Progress progress_;
  // The Context goes before the pools, and the sequences before them, too.
  std::optional<baton_engine::KvPool> alone_pool_;
  std::optional<baton_engine::KvPool> pool_;
  std::unique_ptr<baton_engine::EngineNode> node_;
  std::vector<Prompt> prompts_;
  std::optional<baton_test::ChildProcess> child_;
  baton::PeerId peer_;
  bool killed_ = false;      // in this round
  uint64_t until_kill_ = 0;  // hand-offs
  uint32_t kill_layer_ = 0;  // of the request that brings it
  uint64_t age_ = 0;         // hand-offs of this child
  uint64_t next_id_ = 1;
  std::vector<uint64_t> round_grants_;

  std::optional<ProcessNumbers> own_before_;
  std::optional<ProcessNumbers> child_before_;
  ProcessNumbers own_after_;
  ProcessNumbers child_after_;
  uint64_t through_ = 0;
  uint64_t equal_ = 0;
  uint64_t cancelled_ = 0;
  uint64_t lost_ = 0;
  uint64_t kills_ = 0;
  uint64_t kv_bytes_compared_ = 0;
  uint64_t poison_bytes_checked_ = 0;
  int64_t start_ns_ = 0;
  int64_t shown_ns_ = 0;
};

}  // namespace baton_soak
