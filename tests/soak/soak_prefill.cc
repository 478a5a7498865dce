#include "tests/soak/soak_prefill.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <iostream>
#include <list>
#include <memory>
#include <optional>
#include <set>
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
using baton::Status;
using baton::StatusCode;

constexpr uint64_t kPoolBlocks = 256;
constexpr uint32_t kBlockTokens = 16;
constexpr uint32_t kWaitMs = 20;
// Of an offer that was not withdrawn; a soak that waits so long has failed.
constexpr int64_t kOfferWaitNs = 10'000'000'000;

class Hooks final : public baton_engine::ForwardHooks {
 public:
  Hooks(const SoakRequest& request, uint32_t chunk, baton::ProgressWord& word,
        baton_engine::Outgoing& transfer)
      : request_(request), chunk_(chunk), word_(word), transfer_(transfer) {}

  Status on_layer_kv_final(const baton_engine::Chunk& /*chunk*/, uint32_t layer) override {
    if (request_.layer_by_layer) word_.tick();
    if (chunk_ == request_.cancel_chunk && layer == request_.cancel_layer) {
      transfer_.cancel("prefill gives up");
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
        const SoakRequest request = std::move(queue_.front());
        queue_.pop_front();
        BATON_RETURN_IF_ERROR(run(request));
      }
      if (lines_ > 0 && queue_.empty() && sending_.empty()) {
        --lines_;
        std::cout << "IDLE " << pool_->free_blocks() << ' ' << kPoolBlocks << ' ' << done_ << ' '
                  << cancelled_ << ' ' << failed_ << std::endl;
      }
    }
    node_->close_context();
    return Status::ok();
  }

 private:
  struct Sending {
    baton_engine::Sequence sequence;
    baton::TransferId id;
    baton_engine::Outgoing transfer;
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
  }

  Status handle_event() {
    auto event = node_->context().wait_event(queue_.empty() ? kWaitMs : 0);
    if (!event.is_ok()) {
      return event.code() == StatusCode::kDeadlineExceeded ? Status::ok() : event.status();
    }
    if (event->kind == EventKind::kMessage && event->tag_number == kRequestTag) {
      queue_.push_back(decode(event->message));
    }
    if (event->kind == EventKind::kMessage && event->tag_number == kWithdrawTag) {
      withdrawn_.insert(std::stoull(std::string(event->message.begin(), event->message.end())));
    }
    if (event->kind != EventKind::kTransferEnded) return Status::ok();
    if (event->status.is_ok()) {
      ++done_;
    } else if (event->status.code() == StatusCode::kCancelled) {
      ++cancelled_;
    } else {
      ++failed_;
    }
    // Its pages go back, and are poisoned.
    std::erase_if(sending_, [&](const Sending& one) { return one.id == event->transfer; });
    return Status::ok();
  }

  baton::Result<baton::GrantOffer> wait_offer(const SoakRequest& request) {
    const int64_t end_ns = baton_engine::now_ns() + kOfferWaitNs;
    for (;;) {
      auto offer = node_->context().wait_offer(request.grant_tag(), 0);
      // Those before it have been dealt with.
      withdrawn_.erase(withdrawn_.begin(), withdrawn_.lower_bound(request.id));
      if (offer.is_ok() || withdrawn_.count(request.id) > 0) return offer;
      if (node_->context().peers().empty() || baton_engine::now_ns() > end_ns) return offer;
      BATON_RETURN_IF_ERROR(handle_event());
    }
  }

  // Only what no hand-off may bring about is an error.
  Status run(const SoakRequest& request) {
    const auto count = static_cast<uint32_t>(request.tokens.size());
    auto sequence = baton_engine::Sequence::create(*pool_, count);
    if (!sequence.is_ok()) return sequence.status();
    const auto offer = wait_offer(request);
    if (!offer.is_ok()) return Status::ok();
    const auto blocks = sequence->blocks();
    auto transfer = node_->context().push(
        {offer->id, node_->cache().id(), {{blocks.begin(), blocks.end()}}, 0});
    // Cancelled before the call, or while it looked.
    if (transfer.code() == StatusCode::kNotFound || transfer.code() == StatusCode::kCancelled)
      return Status::ok();
    if (!transfer.is_ok()) return transfer.status();
    const baton::TransferId id = transfer->id();
    baton_engine::Outgoing outgoing(std::move(*transfer));
    compute(request, *sequence, outgoing);
    sending_.push_back({std::move(*sequence), id, std::move(outgoing)});
    return Status::ok();
  }

  // A Transfer that ends under way is nothing special: its event comes.
  void compute(const SoakRequest& request, baton_engine::Sequence& sequence,
               baton_engine::Outgoing& transfer) {
    auto word = node_->context().create_progress_word();
    if (!word.is_ok()) {
      transfer.cancel(word.status().message());
      return;
    }
    baton_engine::ChunkSubmitter submitter(transfer, *word);
    const std::span<const uint32_t> tokens = request.tokens;
    const auto count = static_cast<uint32_t>(tokens.size());
    uint32_t index = 0;
    for (uint32_t begin = 0; begin < count; begin += options_.chunk_tokens, ++index) {
      const uint32_t end = std::min(begin + options_.chunk_tokens, count);
      if (request.layer_by_layer && !submitter.add(end).is_ok()) return;
      Hooks hooks(request, index, *word, transfer);
      const Status computed =
          node_->forward().prefill(sequence, tokens.subspan(begin, end - begin), &hooks);
      if (!computed.is_ok()) return;
    }
    baton_engine::seal_when_room(transfer).ignore();
  }

  const baton_engine::EngineOptions options_ = engine_options();
  baton_engine::Progress progress_{"soak-prefill", true};
  // The Context goes before the pool that it has registered.
  std::optional<baton_engine::KvPool> pool_;
  std::unique_ptr<baton_engine::EngineNode> node_;
  std::deque<SoakRequest> queue_;
  std::list<Sending> sending_;
  std::set<uint64_t> withdrawn_;
  int64_t lines_ = 0;
  bool input_ended_ = false;
  uint64_t done_ = 0;
  uint64_t cancelled_ = 0;
  uint64_t failed_ = 0;
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
