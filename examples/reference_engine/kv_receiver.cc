#include "examples/reference_engine/kv_receiver.h"

#include <algorithm>
#include <span>
#include <utility>

#include "examples/reference_engine/engine_messages.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

// Short: when another rank gives a step up, all wait until this one has noticed.
constexpr uint32_t kWaitSliceMs = 20;

}  // namespace

KvReceiver::KvReceiver(EngineNode& node, KvPool& pool, const EngineOptions& options)
    : node_(node),
      pool_(pool),
      options_(options),
      held_heads_(
          kv_heads_of(node.model().config(), parts_of_rank(options.rank, options.decode_tp))) {}

Result<baton::PeerId> KvReceiver::dial(const std::string& address) {
  auto peer = node_.context().connect(address);
  if (peer.code() != StatusCode::kUnavailable) return peer;
  return Status(StatusCode::kPeerLost, peer.status().message());
}

Status KvReceiver::connect(const RankConnect& connect, baton::PeerId first) {
  const auto ranks = static_cast<uint32_t>(connect.addresses.size());
  if (ranks != 1 && ranks != kTensorParts) {
    return {StatusCode::kProtocolError,
            "a prefill side of " + std::to_string(ranks) + " ranks; expected 1 or 3"};
  }
  BATON_RETURN_IF_ERROR(check_ranks(node_.model().config(), ranks));
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    const IndexRange owned = owned_kv_heads_of(node_.model().config(), parts_of_rank(rank, ranks));
    if (overlap(owned, held_heads_).is_empty()) continue;
    if (rank == 0 && first) {
      writers_.push_back({rank, first});
      continue;
    }
    auto peer = dial(connect.addresses[rank]);
    if (!peer.is_ok()) return peer.status();
    writers_.push_back({rank, *peer});
  }
  const std::vector<uint8_t> name = encode(ReaderName{connect.session, options_.rank});
  for (const Writer& writer : writers_) {
    BATON_RETURN_IF_ERROR(node_.context().send_message(writer.peer, kReaderTag, name));
  }
  return Status::ok();
}

Result<Incoming> KvReceiver::open(const OpenRequest& request) {
  Incoming incoming;
  incoming.request = request;
  auto sequence = Sequence::create(pool_, request.capacity_tokens);
  if (!sequence.is_ok()) return sequence.status();
  if (options_.check_pages) {
    const uint64_t written = pool_.count_written_bytes(sequence->blocks());
    if (written != 0) {
      return Status(StatusCode::kInternal,
                    std::to_string(written) +
                        " bytes of free pages were written, after the Grants on them had ended");
    }
  }
  incoming.sequence.emplace(std::move(*sequence));
  incoming.sequence->advance(request.tokens);
  const std::span<const uint32_t> blocks =
      incoming.sequence->blocks().first(pool_.shape().blocks_for(request.tokens));
  if (request.hand_off == HandOff::kPull) {
    await_offers(incoming, {blocks.begin(), blocks.end()});
  } else {
    BATON_RETURN_IF_ERROR(grant(incoming, {blocks.begin(), blocks.end()}));
  }
  return incoming;
}

Status KvReceiver::grant(Incoming& incoming, std::vector<uint32_t> blocks) {
  const OpenRequest& request = incoming.request;
  baton::GrantGroupRequest group;
  group.cache = node_.cache().id();
  group.tag = grant_tag(request.session, request.id, options_.rank);
  group.tokens = {0, request.tokens};
  group.block_lists = {std::move(blocks)};
  group.deadline_ms = options_.deadline_ms;
  for (const Writer& writer : writers_) group.writers.push_back({writer.peer, kCacheName});
  auto granted = node_.context().grant_group(group);
  if (!granted.is_ok()) return granted.status();
  incoming.grants = std::move(*granted);
  return Status::ok();
}

void KvReceiver::await_offers(Incoming& incoming, std::vector<uint32_t> blocks) {
  const OpenRequest& request = incoming.request;
  KvPulls::Request pulls;
  pulls.cache = node_.cache().id();
  pulls.tag = grant_tag(request.session, request.id, options_.rank);
  pulls.offers = writers_.size();
  pulls.blocks = std::move(blocks);
  pulls.end_ns = now_ns() + int64_t{options_.deadline_ms} * 1'000'000;
  incoming.pulls = std::make_shared<KvPulls>(node_.context(), std::move(pulls));
  pulls_.push_back(incoming.pulls);
}

void KvReceiver::take_offers() {
  std::erase_if(pulls_, [](const std::weak_ptr<KvPulls>& one) { return one.expired(); });
  for (const std::weak_ptr<KvPulls>& one : pulls_) {
    if (const auto pulls = one.lock()) pulls->take_offers();
  }
}

Status KvReceiver::wait_layer(const Incoming& incoming, uint32_t layer,
                              const std::function<Status()>& check) {
  const int64_t end_ns = now_ns() + int64_t{options_.deadline_ms + kEndsAfterMs} * 1'000'000;
  const auto poll = [&] {
    return incoming.pulls ? incoming.pulls->poll_layer(layer) : incoming.grants.gate(layer).poll();
  };
  Status status = poll();
  while (status.code() == StatusCode::kBusy) {
    BATON_RETURN_IF_ERROR(check());
    if (now_ns() > end_ns) {
      return {StatusCode::kDeadlineExceeded, "layer " + std::to_string(layer) + " never came"};
    }
    take_offers();
    if (incoming.pulls) {
      incoming.pulls->wait_layer(layer, kWaitSliceMs);
    } else {
      incoming.grants.gate(layer).wait(kWaitSliceMs).ignore();
    }
    status = poll();
  }
  if (status.is_ok()) return status;
  return {status.code(), "layer " + std::to_string(layer) + ": " + status.message()};
}

Status KvReceiver::wait_end(const Incoming& incoming) const {
  if (incoming.pulls) return incoming.pulls->wait_end();
  return incoming.grants.wait(options_.deadline_ms + kEndsAfterMs);
}

void KvReceiver::cancel(Incoming& incoming, const std::string& reason) {
  if (incoming.pulls) {
    incoming.pulls->cancel(reason);
  } else {
    incoming.grants.cancel(reason);
  }
}

RankArrivals KvReceiver::arrivals(const Incoming& incoming) {
  RankArrivals out;
  out.seen_ns = incoming.seen_ns;
  const std::vector<baton::GrantRecord> records =
      incoming.pulls ? incoming.pulls->records() : incoming.grants.records();
  for (const baton::GrantRecord& record : records) {
    out.placed_ns.resize(std::max(out.placed_ns.size(), record.layers.size()));
    for (size_t i = 0; i < record.layers.size(); ++i) {
      out.placed_ns[i] = std::max(out.placed_ns[i], record.layers[i].placed_ns);
    }
  }
  return out;
}

Status ArrivalHooks::before_layer_attention(uint32_t layer) {
  if (cancel_layer_ == layer) return {StatusCode::kCancelled, kCancelledOnPurpose};
  BATON_RETURN_IF_ERROR(receiver_.wait_layer(incoming_, layer, check_));
  incoming_.seen_ns.push_back(now_ns());
  return Status::ok();
}

}  // namespace baton_engine
