#include "tests/soak/soak_decode.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <sstream>
#include <utility>

#include "examples/reference_engine/engine_compare.h"

namespace baton_soak {

using baton::EventKind;
using baton::Status;
using baton::StatusCode;
using baton_engine::Generation;
using baton_engine::KvTensor;
using baton_engine::now_ns;
using baton_engine::Sequence;

namespace {

constexpr uint32_t kBlockTokens = 8;  // half of prefill's
constexpr uint32_t kBlocks = 256;
constexpr uint32_t kNewTokens = 3;
constexpr size_t kPrompts = 8;
constexpr uint64_t kMaxInFlight = 4;
constexpr uint64_t kWarmUp = 24;  // hand-offs before numbers are taken
constexpr uint64_t kChildWarmUp = 8;
constexpr uint32_t kWaitMs = 30'000;
constexpr uint8_t kPoison = 0xff;
// The deadline of a Grant whose end only a leak would leave to it.
constexpr uint32_t kDeadlineMs = 20'000;

std::string said(const std::string& what, const Status& status) {
  return what + ": " + status.to_string();
}

// Bytes of these blocks that are not poison.
uint64_t count_dirty(const baton_engine::KvPool& pool, std::span<const uint32_t> blocks) {
  uint64_t dirty = 0;
  const uint64_t bytes = pool.shape().block_bytes();
  for (uint32_t layer = 0; layer < pool.shape().layers; ++layer) {
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      for (const uint32_t block : blocks) {
        const uint8_t* const at = pool.block(layer, tensor, block);
        dirty += static_cast<uint64_t>(
            std::count_if(at, at + bytes, [](uint8_t byte) { return byte != kPoison; }));
      }
    }
  }
  return dirty;
}

}  // namespace

// Waits for each layer of the first step; brings the cancel and the kill that are due at it.
class SoakDecode::Hooks final : public baton_engine::ForwardHooks {
 public:
  Hooks(SoakDecode& soak, Open& open, bool kills) : soak_(soak), open_(open), kills_(kills) {}

  Status before_layer_attention(uint32_t layer) override {
    if (kills_ && layer == soak_.kill_layer_) soak_.kill_child();
    if (open_.fate == Fate::kDecodeAtLayer && layer == open_.layer) {
      open_.grant.cancel("the request was aborted");
      soak_.withdraw(open_).ignore();  // the process may be dead already
    }
    return open_.grant.gate(layer).wait(kWaitMs);
  }

 private:
  SoakDecode& soak_;
  Open& open_;
  bool kills_;
};

SoakDecode::SoakDecode(const SoakOptions& options)
    : options_(options), random_(options.seed), progress_("soak", true) {}

std::string SoakDecode::prepare() {
  start_ns_ = now_ns();
  auto node = baton_engine::EngineNode::create(engine_options_, progress_);
  if (!node.is_ok()) return said("engine", node.status());
  node_ = std::move(*node);
  auto alone_pool = node_->make_pool({kBlockTokens, kBlocks, true});
  auto pool = node_->make_pool({kBlockTokens, kBlocks, true});
  if (!alone_pool.is_ok() || !pool.is_ok()) return "a pool was not made";
  alone_pool_.emplace(std::move(*alone_pool));
  pool_.emplace(std::move(*pool));
  for (size_t i = 0; i < kPrompts; ++i) {
    Prompt prompt;
    for (uint64_t count = 2 + chance(90); count > 0; --count) {
      prompt.tokens.push_back(static_cast<uint32_t>('a' + chance(26)));
    }
    const auto handed = static_cast<uint32_t>(prompt.tokens.size() - 1);
    auto sequence = Sequence::create(*alone_pool_, handed + kNewTokens);
    if (!sequence.is_ok()) return said("a prompt's pages", sequence.status());
    const Status prefilled = node_->forward().prefill(
        *sequence, std::span<const uint32_t>(prompt.tokens).first(handed), nullptr);
    if (!prefilled.is_ok()) return said("prefill alone", prefilled);
    auto generation = baton_engine::generate(
        [&](uint32_t token, bool) { return node_->forward().decode(*sequence, token, nullptr); },
        {prompt.tokens.back(), node_->model().tokenizer().end_of_sequence(), kNewTokens},
        progress_);
    if (!generation.is_ok()) return said("generation alone", generation.status());
    prompt.alone.emplace(std::move(*sequence));
    prompt.generation = std::move(*generation);
    prompts_.push_back(std::move(prompt));
  }
  const baton_engine::IndexRange heads{0, pool_->shape().kv_heads};
  const Status opened = node_->open_context(context_options("soak-decode"), *pool_, heads, heads);
  return opened.is_ok() ? start_child() : said("Context", opened);
}

std::string SoakDecode::start_child() {
  child_.emplace(baton_test::ChildProcess::self({"--role", "prefill"}));
  age_ = 0;
  child_before_.reset();
  const auto address = child_->read_line_after("ADDRESS ");
  if (!address) return "the prefill process did not start";
  // The one that was killed may still be known; then its name is probed first.
  auto peer = node_->context().connect(*address, kWaitMs);
  if (!peer.is_ok()) return said("connect", peer.status());
  peer_ = *peer;
  return "";
}

void SoakDecode::kill_child() {
  if (killed_) return;
  child_->kill();
  killed_ = true;
  ++kills_;
}

std::string SoakDecode::check_child() {
  if (!child_->write_line("idle?")) return "the prefill process does not listen";
  const auto line = child_->read_line_after("IDLE ");
  if (!line) return "the prefill process did not come to rest";
  std::istringstream words(*line);
  uint64_t free = 0;
  uint64_t total = 0;
  words >> free >> total;
  if (free != total) return "prefill has " + std::to_string(free) + " pages free of " + *line;
  child_after_ = read_numbers(child_->pid());
  if (age_ < kChildWarmUp) return "";
  if (!child_before_) {
    child_before_ = child_after_;
    return "";
  }
  const std::string grown = growth(*child_before_, child_after_);
  return grown.empty() ? "" : "the prefill process: " + grown;
}

std::string SoakDecode::stop_child() {
  std::string wrong = check_child();
  if (!wrong.empty()) return wrong;
  child_->close_stdin();
  const auto exit = child_->wait_exit();
  if (!exit || exit->signalled || exit->code != 0) return "the prefill process did not end well";
  return "";
}

std::string SoakDecode::ask(Open& open) {
  Prompt& prompt = prompts_[open.prompt];
  const auto handed = static_cast<uint32_t>(prompt.tokens.size() - 1);
  open.request.tokens.assign(prompt.tokens.begin(), prompt.tokens.end() - 1);
  auto sequence = Sequence::create(*pool_, handed + kNewTokens);
  if (!sequence.is_ok()) return said("pages", sequence.status());
  const uint64_t dirty = count_dirty(*pool_, sequence->blocks());
  poison_bytes_checked_ +=
      sequence->blocks().size() * pool_->shape().block_bytes() * pool_->shape().layers * 2;
  if (dirty > 0) return std::to_string(dirty) + " bytes came into pages that nobody held";
  const auto blocks = sequence->blocks().first(pool_->shape().blocks_for(handed));
  baton::GrantRequest grant;
  grant.peer = peer_;
  grant.cache = node_->cache().id();
  grant.source_cache = baton_engine::kCacheName;
  grant.tag = open.request.grant_tag();
  grant.tokens = {0, handed};
  grant.block_lists = {{blocks.begin(), blocks.end()}};
  grant.deadline_ms = kDeadlineMs;
  auto granted = node_->context().grant(grant);
  if (!granted.is_ok()) return said("grant", granted.status());
  open.sequence.emplace(std::move(*sequence));
  open.grant = std::move(*granted);
  round_grants_.push_back(open.grant.id().value);
  if (open.fate == Fate::kDecodeBeforeAsking) {
    open.grant.cancel("never mind");
    return "";
  }
  const Status sent = node_->context().send_message(peer_, kRequestTag, encode(open.request));
  if (!sent.is_ok()) return said("send_message", sent);
  if (open.fate != Fate::kDecodeAfterAsking) return "";
  open.grant.cancel("never mind");
  const Status withdrawn = withdraw(open);
  return withdrawn.is_ok() ? "" : said("send_message", withdrawn);
}

// Or prefill would wait for an offer that went with its Grant.
Status SoakDecode::withdraw(const Open& open) {
  const std::string id = std::to_string(open.request.id);
  return node_->context().send_message(peer_, kWithdrawTag,
                                       std::vector<uint8_t>(id.begin(), id.end()));
}

std::string SoakDecode::round() {
  killed_ = false;
  round_grants_.clear();
  const uint64_t count =
      std::min<uint64_t>(1 + chance(kMaxInFlight), options_.hand_offs - through_);
  std::vector<Open> open(count);
  for (Open& one : open) {
    one.request.id = next_id_++;
    one.request.layer_by_layer = chance(3) > 0;
    one.prompt = chance(kPrompts);
    if (chance(100) < options_.cancel_percent) one.fate = static_cast<Fate>(1 + chance(4));
    one.layer = static_cast<uint32_t>(chance(pool_->shape().layers));
    if (one.fate == Fate::kPrefillAtLayer) {
      one.request.cancel_layer = one.layer;
      one.request.cancel_chunk = static_cast<uint32_t>(
          chance((prompts_[one.prompt].tokens.size() - 2) / engine_options_.chunk_tokens + 1));
    }
    const std::string wrong = ask(one);
    if (!wrong.empty()) return wrong;
  }
  for (Open& one : open) {
    const std::string wrong = finish(one);
    if (!wrong.empty()) {
      return "request " + std::to_string(one.request.id) + " (fate " +
             std::to_string(static_cast<int>(one.fate)) + (killed_ ? ", killed" : "") +
             "): " + wrong;
    }
    ++through_;
    ++age_;
  }
  return check_events();
}

std::string SoakDecode::finish(Open& open) {
  bool kills = false;
  if (options_.kill_every > 0 && until_kill_ == 0) {
    until_kill_ = 1 + chance(2 * options_.kill_every);
    kill_layer_ = static_cast<uint32_t>(chance(pool_->shape().layers));
  } else if (options_.kill_every > 0) {
    kills = --until_kill_ == 0;
  }
  Hooks hooks(*this, open, kills);
  const Prompt& prompt = prompts_[open.prompt];
  open.sequence->advance(static_cast<uint32_t>(prompt.tokens.size() - 1));
  const auto generation = baton_engine::generate(
      [&](uint32_t token, bool is_first) {
        return node_->forward().decode(*open.sequence, token, is_first ? &hooks : nullptr);
      },
      {prompt.tokens.back(), node_->model().tokenizer().end_of_sequence(), kNewTokens}, progress_);
  const Status end = open.grant.wait(kWaitMs);
  if (!baton::is_terminal(open.grant.state())) return "its Grant did not end";
  const std::string wrong = judge(open, end, generation);
  open.sequence.reset();  // its pages go back, and are poisoned
  return wrong;
}

std::string SoakDecode::judge(Open& open, const Status& end,
                              const baton::Result<Generation>& generation) {
  if (end.is_ok()) {
    if (!generation.is_ok()) return said("its Grant is done, but", generation.status());
    ++equal_;
    return compare(open, *generation);
  }
  if (end.code() == StatusCode::kCancelled && open.fate != Fate::kNone) {
    ++cancelled_;
    return "";
  }
  if (end.code() == StatusCode::kPeerLost && killed_) {
    ++lost_;
    return "";
  }
  return said("nobody asked for its end", end);
}

std::string SoakDecode::compare(const Open& open, const Generation& generation) {
  const Prompt& prompt = prompts_[open.prompt];
  if (generation.tokens != prompt.generation.tokens) return "WRONG TOKENS";
  const auto logits = baton_engine::compare_logits(prompt.generation.logits, generation.logits);
  if (logits.different > 0) return std::to_string(logits.different) + " logits differ";
  const auto kv = baton_engine::compare_kv(*prompt.alone, *open.sequence, kPoison);
  kv_bytes_compared_ += kv.compared;
  return kv.different == 0 ? "" : std::to_string(kv.different) + " bytes of KV differ";
}

// One end for each Grant of the round, and none of another.
std::string SoakDecode::check_events() {
  size_t missing = round_grants_.size();
  while (missing > 0) {
    const auto event = node_->context().wait_event(kWaitMs);
    if (!event.is_ok()) return said("an end that no event told", event.status());
    if (event->kind == EventKind::kEventsLost) return "events were lost";
    if (event->kind != EventKind::kGrantEnded) continue;
    const auto found = std::find(round_grants_.begin(), round_grants_.end(), event->grant.value);
    if (found == round_grants_.end()) return "an event of a Grant that had ended before";
    round_grants_.erase(found);
    --missing;
  }
  return "";
}

void SoakDecode::show_progress() {
  const int64_t now = now_ns();
  if (options_.quiet || (now - shown_ns_ < 2'000'000'000 && through_ < options_.hand_offs)) return;
  shown_ns_ = now;
  std::fprintf(stderr,
               "[%4" PRId64 "s] %" PRIu64 " of %" PRIu64 " hand-offs: %" PRIu64 " equal, %" PRIu64
               " cancelled, %" PRIu64 " lost to %" PRIu64 " kills\n",
               (now - start_ns_) / 1'000'000'000, through_, options_.hand_offs, equal_, cancelled_,
               lost_, kills_);
}

std::string SoakDecode::run() {
  std::string wrong = prepare();
  until_kill_ = options_.kill_every == 0 ? 0 : 1 + chance(2 * options_.kill_every);
  while (wrong.empty() && through_ < options_.hand_offs) {
    wrong = round();
    if (wrong.empty() && pool_->free_blocks() != kBlocks) wrong = "pages were not given back";
    if (!wrong.empty()) break;
    wrong = killed_ ? start_child() : age_ < kChildWarmUp || !child_before_ ? check_child() : "";
    if (!own_before_ && through_ >= kWarmUp && kills_ > 0) own_before_ = read_numbers(::getpid());
    show_progress();
  }
  if (wrong.empty()) wrong = check_end();
  return wrong.empty() ? "" : "after " + std::to_string(through_) + " hand-offs: " + wrong;
}

std::string SoakDecode::check_end() {
  own_after_ = read_numbers(::getpid());
  // So many that each of these has come about: else nothing was compared.
  if (through_ >= 600 && options_.kill_every > 0 && options_.cancel_percent > 0) {
    if (!own_before_ || kills_ == 0 || cancelled_ == 0 || equal_ == 0)
      return "it tested nothing: " + std::to_string(kills_) + " kills, " +
             std::to_string(cancelled_) + " cancelled, " + std::to_string(equal_) + " equal";
  }
  if (own_before_) {
    const std::string grown = growth(*own_before_, own_after_);
    if (!grown.empty()) return "the decode process: " + grown;
  }
  std::vector<uint32_t> all(kBlocks);
  for (uint32_t i = 0; i < kBlocks; ++i) all[i] = i;
  if (count_dirty(*pool_, all) > 0) return "bytes came into pages that nobody held";
  const auto peers = node_->context().peers();
  if (peers != std::vector<baton::PeerId>{peer_}) {
    return std::to_string(peers.size()) + " peers are known";
  }
  const std::string wrong = stop_child();
  if (!wrong.empty()) return wrong;
  if (count_zombies() > 0) return std::to_string(count_zombies()) + " zombies were left";
  node_->close_context();
  return "";
}

nlohmann::json SoakDecode::summary() const {
  const auto numbers = [](const ProcessNumbers& one) {
    return nlohmann::json{{"descriptors", one.descriptors},
                          {"threads", one.threads},
                          {"mappings", one.mappings},
                          {"resident_bytes", one.resident_bytes}};
  };
  return {{"seed", options_.seed},
          {"hand_offs", through_},
          {"equal", equal_},
          {"cancelled", cancelled_},
          {"lost_to_kills", lost_},
          {"kills", kills_},
          {"kv_bytes_compared", kv_bytes_compared_},
          {"poison_bytes_checked", poison_bytes_checked_},
          {"seconds", static_cast<double>(now_ns() - start_ns_) / 1e9},
          {"decode_after_warm_up", own_before_ ? numbers(*own_before_) : nlohmann::json()},
          {"decode_at_the_end", numbers(own_after_)},
          {"prefill_after_warm_up", child_before_ ? numbers(*child_before_) : nlohmann::json()},
          {"prefill_at_the_end", numbers(child_after_)}};
}

}  // namespace baton_soak
