#include "examples/reference_engine/decode_rank.h"

#include <array>
#include <string>
#include <utility>

#include "examples/reference_engine/engine_compare.h"
#include "examples/reference_engine/engine_interrupt.h"

namespace baton_engine {

using baton::Status;
using baton::StatusCode;

DecodeRank::DecodeRank(EngineNode& node, KvPool& pool, const EngineOptions& options,
                       RankGroup& group, RankPipe& pipe)
    : node_(node), options_(options), group_(group), pipe_(pipe), receiver_(node, pool, options) {}

Status DecodeRank::handle(const RankPipe::Message& message) {
  drop_events();
  receiver_.take_offers();
  const auto kind = static_cast<RankMessage>(message.kind);
  if (kind == RankMessage::kConnect) {
    const auto connect = decode_connect(message.bytes);
    const Status status = connect.is_ok() ? receiver_.connect(*connect) : connect.status();
    return answer(RankMessage::kDone, message.key, encode(status));
  }
  if (kind == RankMessage::kOpen) return handle_open(message);
  const auto found = incoming_.find(message.key);
  if (found == incoming_.end()) {
    // It was never opened here.
    if (kind == RankMessage::kAbandon) {
      return answer(RankMessage::kDone, message.key, encode(Status::ok()));
    }
    return {StatusCode::kProtocolError, "message " + std::to_string(message.kind) +
                                            " about request " + std::to_string(message.key) +
                                            ", which is not open"};
  }
  switch (kind) {
    case RankMessage::kStep:
      return handle_step(found->second, message);
    case RankMessage::kFinish:
      return handle_finish(found->second);
    case RankMessage::kAbandon:
      return handle_abandon(found->second);
    case RankMessage::kShowKv:
      return answer(RankMessage::kKv, message.key, encode(kv_image(*found->second.sequence)));
    case RankMessage::kRelease:
      incoming_.erase(found);
      return Status::ok();
    default:
      return {StatusCode::kProtocolError,
              "message " + std::to_string(message.kind) + " is not for a decode rank"};
  }
}

Status DecodeRank::handle_open(const RankPipe::Message& message) {
  const auto request = decode_open(message.bytes);
  Status status = request.status();
  if (request.is_ok()) {
    auto opened = receiver_.open(*request);
    status = opened.status();
    if (opened.is_ok()) incoming_.emplace(message.key, std::move(*opened));
  }
  return answer(RankMessage::kDone, message.key, encode(status));
}

Status DecodeRank::handle_step(Incoming& incoming, const RankPipe::Message& message) {
  const auto step = decode_step(message.bytes);
  if (!step.is_ok()) return step.status();
  ArrivalHooks hooks(receiver_, incoming, [this] {
    if (interrupted()) return Status(StatusCode::kCancelled, "interrupted");
    if (!group_.is_given_up()) return Status::ok();
    return Status(StatusCode::kCancelled, "another rank gave the step up");
  });
  const Status status =
      node_.rank_forward().step(*incoming.sequence, step->token, step->is_first ? &hooks : nullptr);
  if (status.is_ok()) return status;
  const Status agreed = group_.end_pass(status);
  if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
  if (agreed.code() != StatusCode::kCancelled) return agreed;
  return answer(RankMessage::kStepFailed, message.key, encode(status));
}

Status DecodeRank::handle_finish(Incoming& incoming) {
  const Status ended = receiver_.wait_end(incoming);
  RankArrivals arrivals = KvReceiver::arrivals(incoming);
  arrivals.status = ended;
  return answer(RankMessage::kArrivals, incoming.request.id, encode(arrivals));
}

Status DecodeRank::handle_abandon(Incoming& incoming) {
  const uint64_t id = incoming.request.id;
  KvReceiver::cancel(incoming, "the request was given up");
  receiver_.wait_end(incoming).ignore();
  incoming_.erase(id);
  return answer(RankMessage::kDone, id, encode(Status::ok()));
}

Status DecodeRank::answer(RankMessage kind, uint64_t key, std::span<const uint8_t> bytes) {
  return pipe_.send(static_cast<uint32_t>(kind), key, bytes, options_.deadline_ms);
}

void DecodeRank::drop_events() {
  // Gates, Grants and Pulls tell all that there is to know.
  std::array<baton::Event, 16> events;
  while (node_.context().poll_events(events) > 0) {
  }
}

}  // namespace baton_engine
