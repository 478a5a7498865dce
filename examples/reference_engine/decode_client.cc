#include "examples/reference_engine/decode_client.h"

#include <sys/random.h>

#include <algorithm>
#include <string>
#include <utility>

#include "examples/reference_engine/engine_interrupt.h"

namespace baton_engine {

using baton::Event;
using baton::EventKind;
using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint32_t kWaitSliceMs = 100;

// Layer by layer, from what each side noted; of each moment the last of all ranks.
HandoffTimes times_of(const PrefillRecord& prefill, const std::vector<RankArrivals>& arrivals) {
  HandoffTimes out;
  out.prefill_begin_ns = prefill.begin_ns;
  out.prefill_end_ns = prefill.end_ns;
  out.prefill_cpu_ns = prefill.cpu_ns;
  for (const PrefillRecord::Chunk& chunk : prefill.chunks) {
    out.chunks.push_back({chunk.token_begin, chunk.token_end, chunk.computed_ns});
  }
  const auto at = [](const auto& values, size_t index) {
    return index < values.size() ? values[index] : 0;
  };
  for (size_t i = 0; i < arrivals.front().placed_ns.size(); ++i) {
    LayerTimes layer;
    layer.layer = static_cast<uint32_t>(i);
    layer.computed_ns = at(prefill.final_ns, i);
    layer.posted_ns = at(prefill.posted_ns, i);
    layer.bytes = at(prefill.sent_bytes, i);
    for (const RankArrivals& rank : arrivals) {
      layer.placed_ns = std::max(layer.placed_ns, at(rank.placed_ns, i));
      layer.seen_ns = std::max(layer.seen_ns, at(rank.seen_ns, i));
    }
    out.kv_bytes += layer.bytes;
    out.layers.push_back(layer);
  }
  return out;
}

uint64_t random_session() {
  uint64_t session = 0;
  // Short only when interrupted before anything was read, which 8 bytes are not.
  if (::getrandom(&session, sizeof(session), 0) != sizeof(session)) {
    session = static_cast<uint64_t>(now_ns());
  }
  return session;
}

}  // namespace

DecodeClient::DecodeClient(EngineNode& node, KvPool& pool, const EngineOptions& options,
                           Progress& progress, RankTeam* team)
    : node_(node),
      options_(options),
      progress_(progress),
      team_(team),
      receiver_(node, pool, options),
      session_(random_session()) {}

Status DecodeClient::connect(const std::string& address) {
  auto peer = receiver_.dial(address);
  if (!peer.is_ok()) return peer.status();
  peer_ = *peer;
  const std::string mine = node_.fingerprint();
  BATON_RETURN_IF_ERROR(node_.context().send_message(
      peer_, kHelloTag, std::vector<uint8_t>(mine.begin(), mine.end())));
  const int64_t end_ns = now_ns() + int64_t{options_.deadline_ms} * 1'000'000;
  while (!hello_reply_) {
    if (now_ns() > end_ns) {
      return {StatusCode::kDeadlineExceeded, "the prefill process does not answer the hello"};
    }
    BATON_RETURN_IF_ERROR(pump(kWaitSliceMs));
  }
  auto reply = decode_hello_reply(*hello_reply_);
  if (!reply.is_ok()) return reply.status();
  BATON_RETURN_IF_ERROR(reply->status);
  clock_is_shared_ = reply->clock_id == this_clock_id();
  prefill_ranks_ = static_cast<uint32_t>(reply->rank_addresses.size());
  const RankConnect ranks{session_, reply->rank_addresses};
  BATON_RETURN_IF_ERROR(receiver_.connect(ranks, peer_));
  if (team_ == nullptr) return Status::ok();
  BATON_RETURN_IF_ERROR(team_->send_all(RankMessage::kConnect, 0, encode(ranks)));
  return wait_done();
}

Result<std::vector<Outcome>> DecodeClient::run(const DecodeRun& how,
                                               std::span<const std::vector<uint32_t>> prompts) {
  const auto cancel_of = [&how](size_t prompt) {
    return prompt < how.cancels.size() ? how.cancels[prompt] : CancelPoint{};
  };
  std::vector<Open> open;
  std::vector<Outcome> outcomes;
  Status status;
  for (size_t i = 0; status.is_ok() && i < prompts.size(); ++i) {
    const size_t before = open.size();
    status = ask(how, prompts[i], cancel_of(i), open);
    if (open.size() > before) open.back().prompt = i;
  }
  while (status.is_ok() && !open.empty()) {
    Open& first = open.front();
    const CancelPoint cancel = cancel_of(first.prompt);
    auto outcome = finish(first, how, prompts[first.prompt], cancel);
    if (outcome.is_ok()) {
      outcomes.push_back(std::move(*outcome));
    } else if (cancel.kind == CancelPoint::kAtLayer &&
               outcome.status().message() == kCancelledOnPurpose) {
      abandon(std::span(open).first(1));
    } else {
      status = outcome.status();
      break;
    }
    open.erase(open.begin());
  }
  if (status.is_ok()) return outcomes;
  abandon(open);
  return status;
}

void DecodeClient::abandon(std::span<Open> open) {
  for (Open& one : open) {
    KvReceiver::cancel(one.own, "the request was given up");
    const uint64_t id = one.own.request.id;
    // Prefill need not wait for Grants that are gone, nor for Pulls that will not be. One who is
    // not there does not mind.
    if (awaited_.erase(id) != 0) {
      node_.context().send_message(peer_, kWithdrawTag, encode_withdrawal(id)).ignore();
    }
    records_.erase(id);
  }
  // Ranks that do not meet any more end with this process.
  bool has_ranks = team_ != nullptr && !interrupted() && team_->check().is_ok();
  for (Open& one : open) {
    if (has_ranks) {
      has_ranks = team_->send_all(RankMessage::kAbandon, one.own.request.id).is_ok();
    }
    receiver_.wait_end(one.own).ignore();
    if (has_ranks) wait_done().ignore();
  }
}

Status DecodeClient::wait_done() {
  Status first;
  for (uint32_t rank = 1; rank < team_->end(); ++rank) {
    const auto done =
        team_->receive(rank, RankMessage::kDone, options_.deadline_ms + 2 * kEndsAfterMs);
    const Status status = done.is_ok() ? decode_status(done->bytes) : done.status();
    if (first.is_ok()) first = status;
  }
  return first;
}

Result<PrefillRecord> DecodeClient::prefill_alone(const std::vector<uint32_t>& prompt) {
  PrefillRequest request;
  request.id = next_id_++;
  request.hand_off = HandOff::kNone;
  request.tokens.assign(prompt.begin(), prompt.end() - 1);
  awaited_.insert(request.id);
  BATON_RETURN_IF_ERROR(node_.context().send_message(peer_, kRequestTag, encode(request)));
  return wait_record(request.id);
}

Result<DecodeClient::Open> DecodeClient::open(const OpenRequest& request) {
  Open open;
  open.requested_ns = now_ns();
  auto own = receiver_.open(request);
  if (!own.is_ok()) return own.status();
  open.own = std::move(*own);
  if (team_ == nullptr) return open;
  Status status = team_->send_all(RankMessage::kOpen, request.id, encode(request));
  if (status.is_ok()) status = wait_done();
  if (status.is_ok()) return open;
  abandon({&open, 1});
  return status;
}

Status DecodeClient::ask(const DecodeRun& how, const std::vector<uint32_t>& prompt,
                         const CancelPoint& cancel, std::vector<Open>& open_requests) {
  const auto handed = static_cast<uint32_t>(prompt.size() - 1);
  PrefillRequest request;
  request.id = next_id_++;
  request.hand_off = how.hand_off;
  request.pause_ms = options_.pause_ms;
  request.tokens.assign(prompt.begin(), prompt.end() - 1);
  request.session = session_;
  request.decode_tp = options_.decode_tp;
  auto opened = open({request.id, session_, handed, handed + how.max_new_tokens, how.hand_off});
  if (!opened.is_ok()) return opened.status();
  Status sent;
  if (cancel.kind != CancelPoint::kBeforeRequest) {
    awaited_.insert(request.id);
    sent = node_.context().send_message(peer_, kRequestTag, encode(request));
  }
  const bool is_over = !sent.is_ok() || cancel.kind == CancelPoint::kBeforeRequest ||
                       cancel.kind == CancelPoint::kAfterRequest;
  if (is_over) {
    abandon({&*opened, 1});
  } else {
    open_requests.push_back(std::move(*opened));
  }
  return sent;
}

Result<Outcome> DecodeClient::finish(Open& open, const DecodeRun& how,
                                     const std::vector<uint32_t>& prompt,
                                     const CancelPoint& cancel) {
  const uint64_t id = open.own.request.id;
  progress_.say("request " + std::to_string(id) + " (" + std::string(hand_off_name(how.hand_off)) +
                "): " + std::to_string(prompt.size() - 1) + " tokens to come; waiting for layer 0");
  ArrivalHooks hooks(receiver_, open.own, [this, id] { return check(id); });
  if (cancel.kind == CancelPoint::kAtLayer) hooks.cancel_at(cancel.layer);
  auto generation = generate(
      [&](uint32_t token, bool is_first) {
        return step(open.own, token, is_first ? &hooks : nullptr);
      },
      {prompt.back(), node_.model().tokenizer().end_of_sequence(), how.max_new_tokens}, progress_);
  if (!generation.is_ok()) return generation.status();
  auto arrivals = collect_arrivals(open.own);
  if (!arrivals.is_ok()) return arrivals.status();
  auto record = wait_record(id);
  if (!record.is_ok()) return record.status();
  std::vector<KvImage> other_kv;
  if (team_ != nullptr) {
    if (how.with_kv) {
      auto collected = collect_kv(id);
      if (!collected.is_ok()) return collected.status();
      other_kv = std::move(*collected);
    }
    BATON_RETURN_IF_ERROR(team_->send_all(RankMessage::kRelease, id));
  }
  Outcome outcome{std::move(*open.own.sequence), std::move(*generation), {}, std::move(*record),
                  std::move(*arrivals),          std::move(other_kv)};
  outcome.times = times_of(outcome.prefill, outcome.arrivals);
  outcome.times.requested_ns = open.requested_ns;
  outcome.times.first_token_ns = outcome.generation.first_token_ns;
  return outcome;
}

Result<std::span<const float>> DecodeClient::step(Incoming& incoming, uint32_t token,
                                                  ForwardHooks* hooks) {
  receiver_.take_offers();
  if (team_ != nullptr) {
    BATON_RETURN_IF_ERROR(team_->send_all(RankMessage::kStep, incoming.request.id,
                                          encode_step(token, hooks != nullptr)));
  }
  auto logits = node_.rank_forward().decode(*incoming.sequence, token, hooks);
  if (logits.is_ok() || team_ == nullptr) return logits;
  return explain_step(logits.status());
}

Status DecodeClient::explain_step(const Status& own) {
  const Status agreed = team_->sums().end_pass(own);
  if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
  if (agreed.code() != StatusCode::kCancelled) {
    const Status gone = team_->check();
    return gone.is_ok() ? agreed : gone;
  }
  // All have left the step; each says why.
  Status first = own;
  for (uint32_t rank = 1; rank < team_->end(); ++rank) {
    const auto message =
        team_->receive(rank, RankMessage::kStepFailed, options_.deadline_ms + kEndsAfterMs);
    if (!message.is_ok()) return message.status();
    const Status theirs = decode_status(message->bytes);
    if (first.code() == StatusCode::kCancelled && theirs.code() != StatusCode::kCancelled) {
      first = {theirs.code(), "decode rank " + std::to_string(rank) + ": " + theirs.message()};
    }
  }
  return first;
}

Result<std::vector<RankArrivals>> DecodeClient::collect_arrivals(const Incoming& own) {
  const uint64_t id = own.request.id;
  if (team_ != nullptr) BATON_RETURN_IF_ERROR(team_->send_all(RankMessage::kFinish, id));
  const Status ended = receiver_.wait_end(own);
  std::vector<RankArrivals> out = {KvReceiver::arrivals(own)};
  out.front().status = ended;
  for (uint32_t rank = 1; team_ != nullptr && rank < team_->end(); ++rank) {
    auto message =
        team_->receive(rank, RankMessage::kArrivals, options_.deadline_ms + 2 * kEndsAfterMs);
    if (!message.is_ok()) return message.status();
    auto arrivals = decode_arrivals(message->bytes);
    if (!arrivals.is_ok()) return arrivals.status();
    out.push_back(std::move(*arrivals));
  }
  for (const RankArrivals& rank : out) BATON_RETURN_IF_ERROR(rank.status);
  return out;
}

Result<std::vector<KvImage>> DecodeClient::collect_kv(uint64_t id) {
  std::vector<KvImage> out;
  for (uint32_t rank = 1; rank < team_->end(); ++rank) {
    BATON_RETURN_IF_ERROR(team_->send(rank, RankMessage::kShowKv, id));
    auto message = team_->receive(rank, RankMessage::kKv, options_.deadline_ms);
    if (!message.is_ok()) return message.status();
    auto image = decode_kv_image(message->bytes);
    if (!image.is_ok()) return image.status();
    out.push_back(std::move(*image));
  }
  return out;
}

Result<PrefillRecord> DecodeClient::wait_record(uint64_t id) {
  const int64_t end_ns = now_ns() + int64_t{options_.deadline_ms + kEndsAfterMs} * 1'000'000;
  while (true) {
    const auto found = records_.find(id);
    if (found != records_.end()) {
      PrefillRecord record = std::move(found->second);
      records_.erase(found);
      awaited_.erase(id);
      if (!record.status.is_ok()) return record.status;
      return record;
    }
    if (now_ns() > end_ns) {
      return Status(StatusCode::kDeadlineExceeded,
                    "the prefill process did not report on request " + std::to_string(id));
    }
    BATON_RETURN_IF_ERROR(pump(kWaitSliceMs));
  }
}

Status DecodeClient::check(uint64_t id) {
  BATON_RETURN_IF_ERROR(pump(0));
  if (team_ != nullptr && team_->sums().is_given_up()) {
    return {StatusCode::kCancelled, "another rank gave the step up"};
  }
  const auto record = records_.find(id);
  return record == records_.end() ? Status::ok() : record->second.status;
}

Status DecodeClient::pump(uint32_t wait_ms) {
  if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
  auto event = node_.context().wait_event(wait_ms);
  if (!event.is_ok()) {
    return event.code() == StatusCode::kDeadlineExceeded ? Status::ok() : event.status();
  }
  if (event->kind == EventKind::kPeerDown && event->peer == peer_) {
    return {StatusCode::kPeerLost, "the prefill process is gone: " + event->status.message()};
  }
  if (event->kind != EventKind::kMessage) return Status::ok();
  if (event->tag_number == kHelloReplyTag) hello_reply_ = std::move(event->message);
  if (event->tag_number == kRecordPartTag) return record_reader_.add(event->message);
  if (event->tag_number == kRecordTag) {
    BATON_RETURN_IF_ERROR(record_reader_.add(event->message));
    auto record = record_reader_.take();
    if (!record.is_ok()) return record.status();
    if (awaited_.contains(record->id)) records_[record->id] = std::move(*record);
  }
  return Status::ok();
}

}  // namespace baton_engine
