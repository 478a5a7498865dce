#include "examples/reference_engine/decode_client.h"

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
// A Grant ends this long after its deadline at the latest; then a bit for the slices.
constexpr uint32_t kEndsAfterMs = 2500;

// Layer by layer, from what each side noted.
HandoffTimes times_of(const PrefillRecord& prefill, const baton::GrantRecord& grant,
                      const std::vector<int64_t>& seen_ns) {
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
  for (size_t i = 0; i < grant.layers.size(); ++i) {
    LayerTimes layer;
    layer.layer = static_cast<uint32_t>(i);
    layer.computed_ns = at(prefill.final_ns, i);
    layer.posted_ns = at(prefill.posted_ns, i);
    layer.placed_ns = grant.layers[i].placed_ns;
    layer.seen_ns = at(seen_ns, i);
    layer.bytes = at(prefill.sent_bytes, i);
    out.kv_bytes += layer.bytes;
    out.layers.push_back(layer);
  }
  return out;
}

}  // namespace

// Lets the first decode step pass each layer as its KV arrives, and notes when.
class GateHooks final : public ForwardHooks {
 public:
  GateHooks(DecodeClient& client, const DecodeClient::Open& open, std::vector<int64_t>& seen_ns)
      : client_(client), open_(open), seen_ns_(seen_ns) {}

  Status before_layer_attention(uint32_t layer) override {
    const baton::Gate gate = open_.grant.gate(layer);
    const int64_t end_ns =
        now_ns() + int64_t{client_.options_.deadline_ms + kEndsAfterMs} * 1'000'000;
    while (!gate.is_open()) {
      BATON_RETURN_IF_ERROR(client_.check(open_.id));
      if (now_ns() > end_ns) {
        return {StatusCode::kDeadlineExceeded, "layer " + std::to_string(layer) + " never came"};
      }
      gate.wait(kWaitSliceMs).ignore();
    }
    const Status status = gate.poll();
    if (!status.is_ok()) {
      return {status.code(), "layer " + std::to_string(layer) + ": " + status.message()};
    }
    seen_ns_.push_back(now_ns());
    client_.progress_.maybe_say("layer " + std::to_string(layer) + " is here; attention runs");
    return Status::ok();
  }

 private:
  DecodeClient& client_;
  const DecodeClient::Open& open_;
  std::vector<int64_t>& seen_ns_;
};

Status DecodeClient::connect(const std::string& address) {
  auto peer = node_.context().connect(address);
  // Nobody there, which to a user is the same as gone.
  if (peer.code() == StatusCode::kUnavailable) {
    return {StatusCode::kPeerLost, peer.status().message()};
  }
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
  clock_is_shared_ = reply->clock_id == this_clock_id();
  return reply->status;
}

Result<std::vector<Outcome>> DecodeClient::run(HandOff hand_off,
                                               std::span<const std::vector<uint32_t>> prompts,
                                               uint32_t max_new_tokens) {
  std::vector<Open> open;
  std::vector<Outcome> outcomes;
  Status status;
  for (const std::vector<uint32_t>& prompt : prompts) {
    auto one = ask(hand_off, prompt, max_new_tokens);
    status = one.status();
    if (!status.is_ok()) break;
    open.push_back(std::move(*one));
  }
  for (size_t i = 0; status.is_ok() && i < open.size(); ++i) {
    auto outcome = finish(open[i], hand_off, prompts[i], max_new_tokens);
    status = outcome.status();
    if (status.is_ok()) outcomes.push_back(std::move(*outcome));
  }
  if (status.is_ok()) return outcomes;
  abandon(open);
  return status;
}

void DecodeClient::abandon(std::vector<Open>& open) {
  for (Open& one : open) one.grant.cancel("another request failed");
  for (Open& one : open) one.grant.wait(options_.deadline_ms + kEndsAfterMs).ignore();
}

Result<PrefillRecord> DecodeClient::prefill_alone(const std::vector<uint32_t>& prompt) {
  PrefillRequest request;
  request.id = next_id_++;
  request.hand_off = HandOff::kNone;
  request.tokens.assign(prompt.begin(), prompt.end() - 1);
  BATON_RETURN_IF_ERROR(node_.context().send_message(peer_, kRequestTag, encode(request)));
  return wait_record(request.id);
}

Result<DecodeClient::Open> DecodeClient::ask(HandOff hand_off, const std::vector<uint32_t>& prompt,
                                             uint32_t max_new_tokens) {
  const auto handed = static_cast<uint32_t>(prompt.size() - 1);
  PrefillRequest request;
  request.id = next_id_++;
  request.hand_off = hand_off;
  request.pause_ms = options_.pause_ms;
  request.tokens.assign(prompt.begin(), prompt.end() - 1);
  Open open;
  open.id = request.id;
  auto sequence = Sequence::create(pool_, handed + max_new_tokens);
  if (!sequence.is_ok()) return sequence.status();
  const uint32_t granted = pool_.shape().blocks_for(handed);
  const std::span<const uint32_t> blocks = sequence->blocks().first(granted);
  baton::GrantRequest grant;
  grant.peer = peer_;
  grant.cache = node_.cache().id();
  grant.source_cache = kCacheName;
  grant.tag = request.grant_tag();
  grant.tokens = {0, handed};
  grant.block_lists = {{blocks.begin(), blocks.end()}};
  grant.deadline_ms = options_.deadline_ms;
  open.sequence.emplace(std::move(*sequence));
  open.requested_ns = now_ns();
  auto granted_result = node_.context().grant(grant);
  if (!granted_result.is_ok()) return granted_result.status();
  open.grant = std::move(*granted_result);
  const Status sent = node_.context().send_message(peer_, kRequestTag, encode(request));
  if (!sent.is_ok()) {
    open.grant.cancel("the request was not sent");
    open.grant.wait(options_.deadline_ms + kEndsAfterMs).ignore();
    return sent;
  }
  return open;
}

Result<Outcome> DecodeClient::finish(Open& open, HandOff hand_off,
                                     const std::vector<uint32_t>& prompt, uint32_t max_new_tokens) {
  progress_.say("request " + std::to_string(open.id) + " (" + std::string(hand_off_name(hand_off)) +
                "): " + std::to_string(prompt.size() - 1) + " tokens granted; waiting for layer 0");
  std::vector<int64_t> seen_ns;
  GateHooks hooks(*this, open, seen_ns);
  open.sequence->advance(static_cast<uint32_t>(prompt.size() - 1));
  auto generation =
      generate(node_.forward(), *open.sequence,
               {prompt.back(), node_.model().tokenizer().end_of_sequence(), max_new_tokens, &hooks},
               progress_);
  if (!generation.is_ok()) return generation.status();
  const Status ended = open.grant.wait(options_.deadline_ms + kEndsAfterMs);
  if (!ended.is_ok()) return ended;
  auto record = wait_record(open.id);
  if (!record.is_ok()) return record.status();
  Outcome outcome{std::move(*open.sequence), std::move(*generation), {}, std::move(*record)};
  outcome.times = times_of(outcome.prefill, open.grant.record(), seen_ns);
  outcome.times.requested_ns = open.requested_ns;
  outcome.times.first_token_ns = outcome.generation.first_token_ns;
  return outcome;
}

Result<PrefillRecord> DecodeClient::wait_record(uint64_t id) {
  const int64_t end_ns = now_ns() + int64_t{options_.deadline_ms + kEndsAfterMs} * 1'000'000;
  while (true) {
    const auto found = records_.find(id);
    if (found != records_.end()) {
      PrefillRecord record = std::move(found->second);
      records_.erase(found);
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
    records_[record->id] = std::move(*record);
  }
  return Status::ok();
}

}  // namespace baton_engine
