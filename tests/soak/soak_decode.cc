#include "tests/soak/soak_decode.h"

#include <unistd.h>

#include <algorithm>
#include <numeric>

#include "examples/reference_engine/engine_compare.h"

namespace baton_soak {

using baton::EventKind;
using baton::Status;
using baton::StatusCode;
using baton_engine::Generation;
using baton_engine::now_ns;
using baton_engine::Sequence;

namespace {

constexpr uint32_t kBlockTokens = 8;  // half of prefill's
constexpr uint32_t kBlocks = 256;
constexpr uint32_t kNewTokens = 3;
constexpr size_t kPrompts = 8;
constexpr uint64_t kMaxInFlight = 4;
constexpr uint32_t kWaitMs = 30'000;
// Of waits that have more than one reason to end.
constexpr uint32_t kSliceMs = 20;
constexpr uint8_t kPoison = 0xff;
// The deadline of a Grant whose end only a leak would leave to it.
constexpr uint32_t kDeadlineMs = 20'000;

std::string said(const std::string& what, const Status& status) {
  return what + ": " + status.to_string();
}

}  // namespace

// Waits for each layer of the first step; brings the cancel and the strike that are due at it.
class SoakDecode::Hooks final : public baton_engine::ForwardHooks {
 public:
  Hooks(SoakDecode& soak, Open& open, bool is_struck)
      : soak_(soak), open_(open), is_struck_(is_struck) {}

  Status before_layer_attention(uint32_t layer) override {
    if (is_struck_ && layer == soak_.strike_layer_) soak_.strike();
    BATON_RETURN_IF_ERROR(soak_.await_incoming(open_));
    if (open_.fate == Fate::kDecodeAtLayer && layer == open_.layer) {
      open_.incoming->cancel("the request was aborted");
      // The process may be dead already.
      if (!open_.request.is_pull) soak_.withdraw(open_).ignore();
    }
    soak_.take_offers();
    return open_.incoming->gate(layer).wait(kWaitMs);
  }

 private:
  SoakDecode& soak_;
  Open& open_;
  bool is_struck_;
};

SoakDecode::SoakDecode(const SoakOptions& options, std::string name)
    : options_(options), name_(std::move(name)), random_(options.seed), progress_(name_, true) {}

std::string SoakDecode::prepare() {
  auto node = baton_engine::EngineNode::create(engine_options_, progress_);
  if (!node.is_ok()) return said("engine", node.status());
  node_ = std::move(*node);
  auto alone_pool = node_->make_pool({kBlockTokens, kBlocks, true});
  auto pool = node_->make_pool({kBlockTokens, kBlocks, true});
  if (!alone_pool.is_ok() || !pool.is_ok()) return "a pool was not made";
  alone_pool_.emplace(std::move(*alone_pool));
  pool_.emplace(std::move(*pool));
  for (size_t i = 0; i < kPrompts; ++i) {
    const std::string wrong = prepare_prompt();
    if (!wrong.empty()) return wrong;
  }
  const baton_engine::IndexRange heads{0, pool_->shape().kv_heads};
  const Status opened = node_->open_context(context_options(name_), *pool_, heads, heads);
  if (!opened.is_ok()) return said("Context", opened);
  counter_slots_ = node_->context().metrics().free_counter_slots;
  return "";
}

std::string SoakDecode::prepare_prompt() {
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
      {prompt.tokens.back(), node_->model().tokenizer().end_of_sequence(), kNewTokens}, progress_);
  if (!generation.is_ok()) return said("generation alone", generation.status());
  prompt.alone.emplace(std::move(*sequence));
  prompt.generation = std::move(*generation);
  prompts_.push_back(std::move(prompt));
  return "";
}

std::string SoakDecode::connect(const std::string& address) {
  // One that was killed may still be known; then its name is probed first.
  auto peer = node_->context().connect(address, kWaitMs);
  if (!peer.is_ok()) return said("connect", peer.status());
  peer_ = *peer;
  is_peer_killed_ = false;
  return "";
}

void SoakDecode::strike_after(uint64_t hand_offs, std::function<void()> strike) {
  strike_ = std::move(strike);
  until_strike_ = hand_offs + 1;
  // Behind the last layer: when the hand-off is over, and others may go on.
  strike_layer_ = static_cast<uint32_t>(chance(pool_->shape().layers + 1));
}

void SoakDecode::strike() {
  if (!strike_) return;
  std::exchange(strike_, nullptr)();
}

SoakTally SoakDecode::tally_if_killed() const {
  SoakTally tally = tally_;
  for (const Open& one : open_) {
    if (one.sequence) ++tally.way(one.request.is_pull).lost;
  }
  return tally;
}

SoakDecode::Open SoakDecode::draw(bool calm) {
  Open open;
  open.request.session = options_.seed;
  open.request.id = next_id_++;
  open.request.is_pull = chance(100) < options_.pull_percent;
  open.request.layer_by_layer = chance(3) > 0;
  open.is_late = chance(4) == 0;
  open.prompt = chance(kPrompts);
  const std::vector<uint32_t>& tokens = prompts_[open.prompt].tokens;
  open.request.tokens.assign(tokens.begin(), tokens.end() - 1);
  open.layer = static_cast<uint32_t>(chance(pool_->shape().layers));
  if (!calm && chance(100) < options_.cancel_percent) {
    open.fate = static_cast<Fate>(1 + chance(4));
  }
  if (open.fate == Fate::kPrefillAtLayer) {
    open.request.cancel_layer = open.layer;
    const size_t chunks = (tokens.size() - 2) / engine_options_.chunk_tokens + 1;
    open.request.cancel_chunk = static_cast<uint32_t>(chance(chunks + 1));
  }
  return open;
}

std::string SoakDecode::ask(Open& open) {
  auto sequence =
      Sequence::create(*pool_, static_cast<uint32_t>(open.request.tokens.size()) + kNewTokens);
  if (!sequence.is_ok()) return said("pages", sequence.status());
  const uint64_t dirty = pool_->count_written_bytes(sequence->blocks());
  tally_.poison_bytes_checked +=
      sequence->blocks().size() * pool_->shape().block_bytes() * pool_->shape().layers * 2;
  if (dirty > 0) return std::to_string(dirty) + " bytes came into pages that nobody held";
  open.sequence.emplace(std::move(*sequence));
  return open.request.is_pull ? ask_for_pull(open) : allow_push(open);
}

std::string SoakDecode::allow_push(Open& open) {
  const auto handed = static_cast<uint32_t>(open.request.tokens.size());
  const auto blocks = open.sequence->blocks().first(pool_->shape().blocks_for(handed));
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
  begin(open, Incoming(std::move(*granted)));
  if (open.fate == Fate::kDecodeBeforeAsking) {
    open.incoming->cancel("never mind");
    return "";
  }
  const Status sent = node_->context().send_message(peer_, kRequestTag, encode(open.request));
  if (!sent.is_ok()) return said("send_message", sent);
  if (open.fate != Fate::kDecodeAfterAsking) return "";
  open.incoming->cancel("never mind");
  const Status withdrawn = withdraw(open);
  return withdrawn.is_ok() ? "" : said("send_message", withdrawn);
}

std::string SoakDecode::ask_for_pull(Open& open) {
  const Status sent = node_->context().send_message(peer_, kRequestTag, encode(open.request));
  if (!sent.is_ok()) return said("send_message", sent);
  if (open.fate != Fate::kDecodeBeforeAsking) return "";
  open.missed = {StatusCode::kCancelled, "the request was withdrawn"};
  const Status withdrawn = withdraw(open);
  return withdrawn.is_ok() ? "" : said("send_message", withdrawn);
}

void SoakDecode::begin(Open& open, Incoming incoming) {
  unended_.insert({incoming.is_pull(), incoming.id()});
  open.incoming.emplace(std::move(incoming));
}

// Or prefill would wait for an offer that went with its Grant, or leave one for which no reader
// comes.
Status SoakDecode::withdraw(const Open& open) {
  return node_->context().send_message(peer_, kWithdrawTag, encode_id(open.request.id));
}

void SoakDecode::take_offer(Open& open) {
  if (open.incoming || !open.missed.is_ok()) return;
  // Once prefill has said so, the offer has come and gone.
  const bool is_given_up = given_up_.count(open.request.id) > 0;
  const auto offer = node_->context().wait_offer(open.request.grant_tag(), 0);
  Status status = offer.status();
  if (offer.is_ok()) {
    const auto handed = static_cast<uint32_t>(open.request.tokens.size());
    const auto blocks = open.sequence->blocks().first(pool_->shape().blocks_for(handed));
    auto pull = node_->context().pull(
        {offer->id, node_->cache().id(), {{blocks.begin(), blocks.end()}}, 0});
    if (pull.is_ok()) {
      begin(open, Incoming(std::move(*pull)));
      if (open.fate == Fate::kDecodeAfterAsking) open.incoming->cancel("never mind");
      return;
    }
    // It may have gone since it was looked at.
    if (pull.code() != StatusCode::kNotFound) open.missed = pull.status();
  }
  if (is_given_up) {
    open.missed = {StatusCode::kCancelled, "prefill gave it up before it was pulled"};
  } else if (is_peer_killed_) {
    open.missed = {StatusCode::kPeerLost, "killed before it was pulled"};
  }
}

void SoakDecode::take_offers() {
  for (Open& one : open_) {
    if (one.request.is_pull && !one.is_late && one.sequence) take_offer(one);
  }
}

Status SoakDecode::await_incoming(Open& open) {
  const int64_t end_ns = now_ns() + int64_t{kWaitMs} * 1'000'000;
  while (true) {
    take_offer(open);
    if (open.incoming || !open.missed.is_ok()) return open.missed;
    if (now_ns() > end_ns) {
      open.missed = {StatusCode::kDeadlineExceeded, "prefill offered nothing"};
    }
    take_events(kSliceMs);
  }
}

std::string SoakDecode::round(const Round& plan) {
  open_.clear();
  unended_.clear();
  given_up_.clear();
  const uint64_t count = std::min<uint64_t>(1 + chance(kMaxInFlight), plan.most);
  for (uint64_t i = 0; i < count; ++i) open_.push_back(draw(plan.calm));
  for (Open& one : open_) {
    const std::string wrong = ask(one);
    if (!wrong.empty()) return wrong;
  }
  for (Open& one : open_) {
    const bool is_struck = plan.strikes && strike_ && --until_strike_ == 0;
    const std::string wrong = finish(one, is_struck);
    if (!wrong.empty()) {
      return std::string(one.request.is_pull ? "pull " : "push ") + std::to_string(one.request.id) +
             " (fate " + std::to_string(static_cast<int>(one.fate)) +
             (is_peer_killed_ ? ", killed" : "") + "): " + wrong;
    }
  }
  return check_round();
}

std::string SoakDecode::finish(Open& open, bool is_struck) {
  Hooks hooks(*this, open, is_struck);
  const Prompt& prompt = prompts_[open.prompt];
  open.sequence->advance(static_cast<uint32_t>(open.request.tokens.size()));
  const auto generation = baton_engine::generate(
      [&](uint32_t token, bool is_first) {
        return node_->forward().decode(*open.sequence, token, is_first ? &hooks : nullptr);
      },
      {prompt.tokens.back(), node_->model().tokenizer().end_of_sequence(), kNewTokens}, progress_);
  // It may have ended before the layer that brings the strike.
  if (is_struck) strike();
  const Status end = open.incoming ? open.incoming->wait(kWaitMs) : open.missed;
  if (open.incoming && !baton::is_terminal(open.incoming->state())) return "it did not end";
  const std::string wrong = judge(open, end, generation);
  open.sequence.reset();  // its pages go back, and are poisoned
  return wrong;
}

std::string SoakDecode::judge(const Open& open, const Status& end,
                              const baton::Result<Generation>& generation) {
  SoakTally::Way& way = tally_.way(open.request.is_pull);
  if (end.is_ok()) {
    if (!generation.is_ok()) return said("it is done, but", generation.status());
    ++way.equal;
    return compare(open, *generation);
  }
  if (end.code() == StatusCode::kCancelled && open.fate != Fate::kNone) {
    ++way.cancelled;
    return "";
  }
  if (end.code() == StatusCode::kPeerLost && is_peer_killed_) {
    ++way.lost;
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
  tally_.kv_bytes_compared += kv.compared;
  return kv.different == 0 ? "" : std::to_string(kv.different) + " bytes of KV differ";
}

void SoakDecode::take_events(uint32_t wait_ms) {
  auto event = node_->context().wait_event(wait_ms);
  for (; event.is_ok(); event = node_->context().wait_event(0)) take_event(*event);
}

void SoakDecode::take_event(const baton::Event& event) {
  if (event.kind == EventKind::kEventsLost) wrong_event_ = "events were lost";
  if (event.kind == EventKind::kMessage && event.tag_number == kGivenUpTag) {
    given_up_.insert(decode_id(event.message));
  }
  const bool is_pull = event.kind == EventKind::kTransferEnded;
  if (!is_pull && event.kind != EventKind::kGrantEnded) return;
  // One end for each request of the round, and none of another.
  if (unended_.erase({is_pull, is_pull ? event.transfer.value : event.grant.value}) == 0) {
    wrong_event_ = "an event of a request that had ended before";
  }
}

std::string SoakDecode::check_round() {
  const int64_t end_ns = now_ns() + int64_t{kWaitMs} * 1'000'000;
  while (true) {
    take_events(0);
    if (!wrong_event_.empty()) return wrong_event_;
    const baton::Metrics metrics = node_->context().metrics();
    const bool is_over = unended_.empty() && metrics.live_grants + metrics.live_transfers == 0;
    if (is_over && metrics.free_counter_slots == counter_slots_) break;
    if (now_ns() > end_ns) {
      return std::to_string(unended_.size()) + " ends that no event told, " +
             std::to_string(metrics.live_grants + metrics.live_transfers) + " live, " +
             std::to_string(metrics.free_counter_slots) + " of " + std::to_string(counter_slots_) +
             " counter slots free";
    }
    take_events(kSliceMs);
  }
  return pool_->free_blocks() == kBlocks ? "" : "pages were not given back";
}

std::string SoakDecode::check_rest() {
  const int64_t end_ns = now_ns() + int64_t{kWaitMs} * 1'000'000;
  while (node_->context().metrics().offers > 0) {
    if (now_ns() > end_ns) return "an offer stands that prefill had cancelled";
    take_events(kSliceMs);
  }
  return check_round();
}

std::string SoakDecode::check_pages() {
  std::vector<uint32_t> all(kBlocks);
  std::iota(all.begin(), all.end(), 0U);
  if (pool_->count_written_bytes(all) > 0) return "bytes came into pages that nobody held";
  const auto peers = node_->context().peers();
  if (peers == std::vector<baton::PeerId>{peer_}) return "";
  return std::to_string(peers.size()) + " peers are known";
}

ProcessNumbers SoakDecode::numbers() const {
  ProcessNumbers numbers = read_numbers(::getpid());
  numbers.free_counter_slots = node_->context().metrics().free_counter_slots;
  return numbers;
}

}  // namespace baton_soak
