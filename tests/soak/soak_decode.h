// SoakDecode: the decode side of a soak, and its judge. Round by round it takes pages for one to
// four requests and asks prefill for them: into some it lets prefill push, for the others it pulls
// what prefill offers. It generates from each as its layers arrive; some are cancelled, by either
// side, at a moment of the seed's choice.
//
// What must hold, or what did not is returned:
//  - what was not cancelled, and lost no process, is done; its tokens, logits and KV bytes are
//    those of a run by one process alone
//  - what was ends by its own code, or done
//  - pages are poison when they are given out: nothing landed after their hand-off had ended
//  - every request had one event, and after each round all pages and counter slots are free
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "examples/reference_engine/engine_generate.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/sequence.h"
#include "tests/soak/incoming.h"
#include "tests/soak/process_numbers.h"
#include "tests/soak/soak_options.h"
#include "tests/soak/soak_tally.h"

namespace baton_soak {

class SoakDecode {
 public:
  // Of one round.
  struct Round {
    uint64_t most = 0;    // hand-offs
    bool strikes = true;  // a strike may fall
    bool calm = false;    // nobody cancels
  };

  SoakDecode(const SoakOptions& options, std::string name);

  // These return "" when all held. The engine, its prompts, and what one process makes of them.
  std::string prepare();
  std::string connect(const std::string& address);
  std::string round(const Round& plan);
  // The other process is at rest: no request is alive here, and no offer stands.
  std::string check_rest();
  // REQUIRES: check_rest(). No byte of any page was written.
  std::string check_pages();
  void close() { node_->close_context(); }

  // `strike` is called once, at a layer of the seed's choice in the hand-off after so many.
  void strike_after(uint64_t hand_offs, std::function<void()> strike);
  // A strike's word: until connect() hand-offs may be lost.
  void lose_peer() { is_peer_killed_ = true; }
  bool is_peer_killed() const { return is_peer_killed_; }

  uint64_t through() const { return tally_.total(); }
  SoakTally tally() const { return tally_; }
  // With those under way as lost.
  SoakTally tally_if_killed() const;
  ProcessNumbers numbers() const;

 private:
  // What becomes of a request, beside a kill.
  enum class Fate : uint8_t {
    kNone,
    // The Grant is cancelled, and prefill never hears of the request. Of a pull: it is asked for
    // and withdrawn at once.
    kDecodeBeforeAsking,
    kDecodeAfterAsking,  // of a pull: as soon as it has begun
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
    bool is_late = false;  // of a pull: begun only when nothing else is left to do
    std::optional<baton_engine::Sequence> sequence;
    std::optional<Incoming> incoming;
    baton::Status missed;  // why a pull did not begin
  };
  class Hooks;

  std::string prepare_prompt();
  Open draw(bool calm);
  std::string ask(Open& open);
  std::string allow_push(Open& open);
  std::string ask_for_pull(Open& open);
  void begin(Open& open, Incoming incoming);
  baton::Status withdraw(const Open& open);
  // Begins the Pull when its offer is here.
  void take_offer(Open& open);
  // Those of the round that are not late.
  void take_offers();
  baton::Status await_incoming(Open& open);
  std::string finish(Open& open, bool is_struck);
  std::string judge(const Open& open, const baton::Status& end,
                    const baton::Result<baton_engine::Generation>& generation);
  std::string compare(const Open& open, const baton_engine::Generation& generation);
  // Waits for one, and takes all that are here.
  void take_events(uint32_t wait_ms);
  void take_event(const baton::Event& event);
  std::string check_round();
  void strike();
  uint64_t chance(uint64_t below) { return random_() % below; }

  SoakOptions options_;
  std::string name_;
  std::mt19937_64 random_;
  baton_engine::EngineOptions engine_options_ = engine_options();
  baton_engine::Progress progress_;
  // The Context goes before the pools, and the sequences before them, too.
  std::optional<baton_engine::KvPool> alone_pool_;
  std::optional<baton_engine::KvPool> pool_;
  std::unique_ptr<baton_engine::EngineNode> node_;
  std::vector<Prompt> prompts_;
  std::vector<Open> open_;  // of this round
  baton::PeerId peer_;
  bool is_peer_killed_ = false;
  std::function<void()> strike_;
  uint64_t until_strike_ = 0;  // hand-offs
  uint32_t strike_layer_ = 0;  // of the hand-off that brings it
  uint64_t next_id_ = 1;
  uint64_t counter_slots_ = 0;  // free before the first hand-off
  // Of this round, whose ends no event has told: is it a Pull, and its id.
  std::set<std::pair<bool, uint64_t>> unended_;
  std::set<uint64_t> given_up_;  // requests, by prefill
  std::string wrong_event_;
  SoakTally tally_;
};

}  // namespace baton_soak
