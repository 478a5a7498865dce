#include "tests/soak/soak_prefill.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <iostream>
#include <list>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "examples/reference_engine/chunk_submitter.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/outgoing.h"
#include "examples/reference_engine/sequence.h"
#include "tests/soak/soak_options.h"

namespace baton_soak {
namespace {

using baton::EventKind;
using baton::Result;
using baton::Status;
using baton::StatusCode;

constexpr uint64_t kPoolBlocks = 256;
constexpr uint32_t kBlockTokens = 16;
constexpr uint32_t kWaitMs = 4;  // for an event, before standard input is looked at
// Of an offer that was not withdrawn; a soak that waits so long has failed.
constexpr int64_t kOfferWaitNs = 10'000'000'000;
// The deadline of a ReadGrant whose end only a leak would leave to it.
constexpr uint32_t kDeadlineMs = 20'000;
// What goes on for so long when it was asked whether it rests does not come to rest.
constexpr int64_t kRestWaitNs = 25'000'000'000;

class Hooks final : public baton_engine::ForwardHooks {
 public:
  Hooks(const SoakRequest& request, uint32_t chunk, baton::ProgressWord& word,
        baton_engine::Outgoing& transfer)
      : request_(request), chunk_(chunk), word_(word), transfer_(transfer) {}

  Status on_layer_kv_final(const baton_engine::Chunk& /*chunk*/, uint32_t layer) override {
    if (request_.layer_by_layer) word_.tick();
    if (chunk_ == request_.cancel_chunk && layer == request_.cancel_layer) {
      return {StatusCode::kCancelled, "prefill gives up"};
    }
    // Nobody waits for the rest.
    return baton::is_terminal(transfer_.state()) ? Status(StatusCode::kCancelled, "ended")
                                                 : Status::ok();
  }

 private:
  const SoakRequest& request_;
  uint32_t chunk_;
  baton::ProgressWord& word_;
  baton_engine::Outgoing& transfer_;
};

class Prefill {
 public:
  Status open() {
    auto node = baton_engine::EngineNode::create(options_, progress_);
    if (!node.is_ok()) return node.status();
    node_ = std::move(*node);
    auto pool = node_->make_pool({kBlockTokens, kPoolBlocks, true});
    if (!pool.is_ok()) return pool.status();
    pool_.emplace(std::move(*pool));
    const baton_engine::IndexRange heads{0, pool_->shape().kv_heads};
    BATON_RETURN_IF_ERROR(
        node_->open_context(context_options("soak-prefill"), *pool_, heads, heads));
    std::cout << "ADDRESS " << node_->context().address() << std::endl;
    return Status::ok();
  }

  Status serve() {
    while (!input_ended_) {
      BATON_RETURN_IF_ERROR(handle_event());
      read_input();
      if (!queue_.empty()) {
        const Asked asked = std::move(queue_.front());
        queue_.pop_front();
        BATON_RETURN_IF_ERROR(run(asked));
      }
      if (lines_ > 0 && (is_at_rest() || baton_engine::now_ns() > rest_end_ns_)) {
        --lines_;
        std::cout << "IDLE " << idle_numbers().dump() << std::endl;
      }
    }
    node_->close_context();
    return Status::ok();
  }

 private:
  struct Asked {
    baton::PeerId peer;
    SoakRequest request;
  };
  struct Opened {
    uint64_t id = 0;  // of a TransferId or, of a pull, a GrantId
    baton_engine::Outgoing outgoing;
  };
  struct Sending {
    Asked asked;
    baton_engine::Sequence sequence;
    uint64_t id = 0;
    baton_engine::Outgoing outgoing;
  };

  void read_input() {
    pollfd readable{STDIN_FILENO, POLLIN, 0};
    if (::poll(&readable, 1, 0) <= 0) return;
    char bytes[256];
    const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof(bytes));
    if (got <= 0) {
      input_ended_ = true;
      return;
    }
    lines_ += std::count(bytes, bytes + got, '\n');
    rest_end_ns_ = baton_engine::now_ns() + kRestWaitNs;
  }

  bool is_at_rest() const {
    const baton::Metrics metrics = node_->context().metrics();
    // Only who asked is left of its peers: the others are dead.
    return node_->context().peers().size() == 1 && queue_.empty() && sending_.empty() &&
           metrics.offers == 0 && metrics.live_grants + metrics.live_transfers == 0;
  }

  nlohmann::json idle_numbers() const {
    const baton::Metrics metrics = node_->context().metrics();
    return {{"free_pages", pool_->free_blocks()},
            {"pages", kPoolBlocks},
            {"free_counter_slots", metrics.free_counter_slots},
            {"live", metrics.live_grants + metrics.live_transfers},
            {"offers", metrics.offers},
            {"peers", node_->context().peers().size()},
            {"wrong_end", wrong_end_}};
  }

  Status handle_event() {
    auto event = node_->context().wait_event(queue_.empty() ? kWaitMs : 0);
    if (!event.is_ok()) {
      return event.code() == StatusCode::kDeadlineExceeded ? Status::ok() : event.status();
    }
    if (event->kind == EventKind::kMessage && event->tag_number == kRequestTag) {
      queue_.push_back({event->peer, decode(event->message)});
    }
    if (event->kind == EventKind::kMessage && event->tag_number == kWithdrawTag) {
      withdraw(event->peer, decode_id(event->message));
    }
    const bool is_read = event->kind == EventKind::kGrantEnded;
    if (!is_read && event->kind != EventKind::kTransferEnded) return Status::ok();
    const uint64_t id = is_read ? event->grant.value : event->transfer.value;
    if (!is_expected(*event)) wrong_end_ = event->status.to_string();
    // Its pages go back, and are poisoned.
    std::erase_if(sending_, [&](const Sending& one) {
      return one.id == id && one.outgoing.is_read() == is_read;
    });
    return Status::ok();
  }

  // Of one that nobody killed: done, or cancelled by either side. Of a dead receiver nobody knows
  // whether it had all.
  bool is_expected(const baton::Event& end) const {
    const StatusCode code = end.status.code();
    if (code == StatusCode::kOk || code == StatusCode::kCancelled) return true;
    const bool is_push = end.kind == EventKind::kTransferEnded;
    const bool is_of_dead =
        code == StatusCode::kPeerLost || (is_push && code == StatusCode::kInDoubt);
    return is_of_dead && !is_known(end.peer);
  }

  // One that is not alive yet finds the note of it.
  void withdraw(baton::PeerId peer, uint64_t id) {
    withdrawn_.insert({peer.value, id});
    for (Sending& one : sending_) {
      // An offer for which no reader comes ends by nobody else.
      if (one.asked.peer == peer && one.asked.request.id == id && one.outgoing.is_read()) {
        one.outgoing.cancel("the request was withdrawn");
      }
    }
  }

  bool is_known(baton::PeerId peer) const {
    const auto peers = node_->context().peers();
    return std::find(peers.begin(), peers.end(), peer) != peers.end();
  }
  bool is_withdrawn(const Asked& asked) const {
    return withdrawn_.count({asked.peer.value, asked.request.id}) > 0;
  }

  static Status nobody_waits() { return {StatusCode::kCancelled, "nobody waits for it any more"}; }

  // Of both, kCancelled: nobody waits for it any more. Another error is one that no hand-off may
  // bring about.
  Result<Opened> open_push(const Asked& asked, std::span<const uint32_t> blocks) {
    const int64_t end_ns = baton_engine::now_ns() + kOfferWaitNs;
    auto offer = node_->context().wait_offer(asked.request.grant_tag(), 0);
    while (!offer.is_ok()) {
      if (is_withdrawn(asked) || !is_known(asked.peer)) return nobody_waits();
      if (baton_engine::now_ns() > end_ns) return offer.status();
      BATON_RETURN_IF_ERROR(handle_event());
      offer = node_->context().wait_offer(asked.request.grant_tag(), 0);
    }
    auto transfer = node_->context().push(
        {offer->id, node_->cache().id(), {{blocks.begin(), blocks.end()}}, 0});
    // Cancelled before the call, or while it looked.
    if (transfer.code() == StatusCode::kNotFound || transfer.code() == StatusCode::kCancelled) {
      return nobody_waits();
    }
    if (!transfer.is_ok()) return transfer.status();
    const uint64_t id = transfer->id().value;
    return Opened{id, baton_engine::Outgoing(std::move(*transfer))};
  }

  Result<Opened> open_pull(const Asked& asked, std::span<const uint32_t> blocks) {
    if (is_withdrawn(asked)) return nobody_waits();
    baton::ReadGrantRequest offer;
    offer.peer = asked.peer;
    offer.cache = node_->cache().id();
    offer.target_cache = baton_engine::kCacheName;
    offer.tag = asked.request.grant_tag();
    offer.tokens = {0, static_cast<uint32_t>(asked.request.tokens.size())};
    offer.block_lists = {{blocks.begin(), blocks.end()}};
    offer.deadline_ms = kDeadlineMs;
    auto grant = node_->context().offer_read(offer);
    if (!grant.is_ok() && !is_known(asked.peer)) return nobody_waits();
    if (!grant.is_ok()) return grant.status();
    const uint64_t id = grant->id().value;
    return Opened{id, baton_engine::Outgoing(std::move(*grant))};
  }

  Status run(const Asked& asked) {
    const SoakRequest& request = asked.request;
    auto sequence =
        baton_engine::Sequence::create(*pool_, static_cast<uint32_t>(request.tokens.size()));
    if (!sequence.is_ok()) return sequence.status();
    // Those before it have been dealt with.
    withdrawn_.erase(withdrawn_.lower_bound({asked.peer.value, 0}),
                     withdrawn_.lower_bound({asked.peer.value, request.id}));
    auto opened = request.is_pull ? open_pull(asked, sequence->blocks())
                                  : open_push(asked, sequence->blocks());
    if (opened.code() == StatusCode::kCancelled) return Status::ok();
    if (!opened.is_ok()) return opened.status();
    baton_engine::Outgoing& outgoing = opened->outgoing;
    const Status computed = compute(request, *sequence, outgoing);
    if (!computed.is_ok() && !baton::is_terminal(outgoing.state())) {
      outgoing.cancel(computed.message());
      // The reader may not have seen the offer yet, and then waits for it. It may be dead, too.
      if (request.is_pull) {
        node_->context().send_message(asked.peer, kGivenUpTag, encode_id(request.id)).ignore();
      }
    }
    sending_.push_back({asked, std::move(*sequence), opened->id, std::move(outgoing)});
    return Status::ok();
  }

  // An error: nobody waits for the rest, or prefill was told to give up.
  Status compute(const SoakRequest& request, baton_engine::Sequence& sequence,
                 baton_engine::Outgoing& outgoing) {
    auto word = node_->context().create_progress_word();
    if (!word.is_ok()) return word.status();
    baton_engine::ChunkSubmitter submitter(outgoing, *word);
    const std::span<const uint32_t> tokens = request.tokens;
    const auto count = static_cast<uint32_t>(tokens.size());
    uint32_t index = 0;
    for (uint32_t begin = 0; begin < count; begin += options_.chunk_tokens, ++index) {
      const uint32_t end = std::min(begin + options_.chunk_tokens, count);
      if (request.layer_by_layer) BATON_RETURN_IF_ERROR(submitter.add(end));
      Hooks hooks(request, index, *word, outgoing);
      BATON_RETURN_IF_ERROR(
          node_->forward().prefill(sequence, tokens.subspan(begin, end - begin), &hooks));
    }
    BATON_RETURN_IF_ERROR(baton_engine::seal_when_room(outgoing));
    if (request.cancel_chunk == index) return {StatusCode::kCancelled, "prefill gives up"};
    return Status::ok();
  }

  const baton_engine::EngineOptions options_ = engine_options();
  baton_engine::Progress progress_{"soak-prefill", true};
  // The Context goes before the pool that it has registered.
  std::optional<baton_engine::KvPool> pool_;
  std::unique_ptr<baton_engine::EngineNode> node_;
  std::deque<Asked> queue_;
  std::list<Sending> sending_;
  std::set<std::pair<uint32_t, uint64_t>> withdrawn_;  // peer, and the request's id
  std::string wrong_end_;                              // that nobody asked for
  int64_t lines_ = 0;
  int64_t rest_end_ns_ = 0;
  bool input_ended_ = false;
};

}  // namespace

int run_prefill() {
  Prefill prefill;
  Status status = prefill.open();
  if (status.is_ok()) status = prefill.serve();
  if (status.is_ok()) return 0;
  std::cerr << "soak-prefill: " << status.to_string() << std::endl;
  return 1;
}

}  // namespace baton_soak
