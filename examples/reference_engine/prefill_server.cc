#include "examples/reference_engine/prefill_server.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "examples/reference_engine/chunk_submitter.h"
#include "examples/reference_engine/engine_interrupt.h"

namespace baton_engine {

using baton::Event;
using baton::EventKind;
using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint32_t kWaitSliceMs = 100;
// A request's Grant comes with it; one that does not was withdrawn.
constexpr int64_t kOfferWaitNs = 5'000'000'000;

// Notes when each layer's KV is final, and tells Baton when there is a word to tell it by.
class PrefillHooks final : public ForwardHooks {
 public:
  PrefillHooks(PrefillRecord::Chunk& chunk, baton::ProgressWord* word,
               const baton::Transfer* transfer)
      : chunk_(chunk), word_(word), transfer_(transfer) {}

  Status on_layer_kv_final(const Chunk& /*chunk*/, uint32_t /*layer*/) override {
    chunk_.computed_ns.push_back(now_ns());
    if (word_ != nullptr) word_->tick();
    if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
    // Nobody waits for the rest any more.
    if (transfer_ != nullptr && baton::is_terminal(transfer_->state())) return transfer_->status();
    return Status::ok();
  }

 private:
  PrefillRecord::Chunk& chunk_;
  baton::ProgressWord* word_;
  const baton::Transfer* transfer_;
};

// Waits for `pause_ms`, or less: an interrupt or the Transfer's end is an error at once.
Status pause(const baton::Transfer& transfer, uint32_t pause_ms) {
  const int64_t end_ns = now_ns() + int64_t{pause_ms} * 1'000'000;
  while (true) {
    if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
    const int64_t left_ns = end_ns - now_ns();
    if (left_ns <= 0) return Status::ok();
    const int64_t left_ms = (left_ns + 999'999) / 1'000'000;
    transfer.wait(static_cast<uint32_t>(std::min<int64_t>(left_ms, kWaitSliceMs))).ignore();
    if (baton::is_terminal(transfer.state())) return transfer.status();
  }
}

}  // namespace

Status PrefillServer::serve() {
  while (!interrupted()) {
    BATON_RETURN_IF_ERROR(handle_events());
    send_outbox();
    if (!queue_.empty() && !lacks_pages_) {
      lacks_pages_ = !start(queue_.front());
      if (!lacks_pages_) queue_.pop_front();
    }
    if (options_.once && peer_gone_ && sending_.empty() && queue_.empty() && outbox_.empty()) {
      if (!peer_gone_early_) return Status::ok();
      return {StatusCode::kPeerLost, "the decode process is gone with a request under way"};
    }
  }
  return Status::ok();
}

Status PrefillServer::handle_events() {
  std::array<Event, 16> events;
  size_t count = node_.context().poll_events(events);
  if (count == 0) {
    const bool may_start = !queue_.empty() && !lacks_pages_;
    auto event = node_.context().wait_event(may_start ? 0 : kWaitSliceMs);
    if (!event.is_ok()) {
      return event.code() == StatusCode::kDeadlineExceeded ? Status::ok() : event.status();
    }
    events[0] = std::move(*event);
    count = 1;
  }
  for (size_t i = 0; i < count; ++i) handle(events[i]);
  return Status::ok();
}

void PrefillServer::handle(const Event& event) {
  switch (event.kind) {
    case EventKind::kPeerUp:
      progress_.say("a decode process is connected");
      break;
    case EventKind::kMessage:
      on_message(event);
      break;
    case EventKind::kTransferEnded:
      on_transfer_ended(event);
      break;
    case EventKind::kPeerDown:
      on_peer_down(event);
      break;
    case EventKind::kGrantOffered:
    case EventKind::kGrantEnded:
    case EventKind::kEventsLost:
      break;
  }
}

void PrefillServer::on_message(const Event& event) {
  if (event.tag_number == kHelloTag) {
    HelloReply reply;
    const std::string theirs(event.message.begin(), event.message.end());
    if (theirs != node_.fingerprint()) {
      reply.status = {StatusCode::kMismatch, "the decode process runs " + theirs +
                                                 "; the prefill process runs " +
                                                 node_.fingerprint()};
      progress_.say(reply.status.to_string());
    }
    reply.clock_id = this_clock_id();
    reply.pid = static_cast<uint32_t>(::getpid());
    reply.threads = node_.threads();
    node_.context().send_message(event.peer, kHelloReplyTag, encode(reply)).ignore();
    return;
  }
  if (event.tag_number != kRequestTag) return;
  auto request = decode_request(event.message);
  if (request.is_ok()) {
    queue_.push_back({event.peer, std::move(*request)});
    return;
  }
  progress_.say("a request that cannot be read: " + request.status().to_string());
  PrefillRecord record;
  record.status = request.status();
  answer(event.peer, record);
}

void PrefillServer::on_transfer_ended(const Event& event) {
  const auto found = std::find_if(sending_.begin(), sending_.end(), [&event](const Sending& one) {
    return one.transfer.id() == event.transfer;
  });
  if (found == sending_.end()) return;
  PrefillRecord& record = found->record;
  record.status = event.status;
  for (const baton::SentLayer& layer : found->transfer.record().layers) {
    record.posted_ns.push_back(layer.posted_ns);
    record.sent_bytes.push_back(layer.bytes);
  }
  if (!event.status.is_ok()) {
    progress_.say("request " + std::to_string(record.id) + ": " + event.status.to_string());
  }
  answer(found->peer, record);
  sending_.erase(found);  // its pages are free from here on
  lacks_pages_ = false;
}

void PrefillServer::on_peer_down(const Event& event) {
  const size_t before = queue_.size();
  std::erase_if(queue_, [&event](const Job& job) { return job.peer == event.peer; });
  std::erase_if(outbox_, [&event](const Outgoing& one) { return one.peer == event.peer; });
  const bool is_sending = std::any_of(sending_.begin(), sending_.end(),
                                      [&event](const Sending& s) { return s.peer == event.peer; });
  peer_gone_ = true;
  peer_gone_early_ |= before != queue_.size() || is_sending;
  progress_.say("the decode process is gone");
}

bool PrefillServer::start(const Job& job) {
  PrefillRecord record;
  record.id = job.request.id;
  const auto tokens = static_cast<uint32_t>(job.request.tokens.size());
  auto sequence = tokens == 0
                      ? Result<Sequence>(StatusCode::kInvalidArgument, "no tokens to prefill")
                      : Sequence::create(pool_, tokens);
  if (sequence.code() == StatusCode::kExhausted && !sending_.empty()) return false;
  record.status = sequence.is_ok() ? run(job, std::move(*sequence), record) : sequence.status();
  if (record.status.is_ok() && job.request.hand_off != HandOff::kNone) return true;
  if (!record.status.is_ok()) {
    progress_.say("request " + std::to_string(record.id) + ": " + record.status.to_string());
  }
  answer(job.peer, record);
  return true;
}

Status PrefillServer::run(const Job& job, Sequence sequence, PrefillRecord& record) {
  if (job.request.hand_off == HandOff::kNone) return compute(job, sequence, nullptr, record);
  auto offer = wait_offer(job);
  if (!offer.is_ok()) return offer.status();
  const std::span<const uint32_t> blocks = sequence.blocks();
  auto transfer = node_.context().push(
      {offer->id, node_.cache().id(), {{blocks.begin(), blocks.end()}}, options_.deadline_ms});
  if (!transfer.is_ok()) return transfer.status();

  Status status = compute(job, sequence, &*transfer, record);
  if (status.is_ok() && job.request.hand_off == HandOff::kPaced) {
    status = hand_over_paced(job, *transfer, record);
  }
  if (status.is_ok()) {
    if (record.final_ns.empty()) record.final_ns = record.chunks.back().computed_ns;
    status = seal_when_room(*transfer);
  }
  if (!status.is_ok()) {
    // The pages stay until the Transfer has ended; on_transfer_ended answers.
    transfer->cancel("prefill failed: " + status.message());
  }
  sending_.push_back({job.peer, std::move(sequence), std::move(*transfer), std::move(record)});
  return Status::ok();
}

Result<baton::GrantOffer> PrefillServer::wait_offer(const Job& job) {
  const int64_t end_ns = now_ns() + kOfferWaitNs;
  while (true) {
    auto offer = node_.context().wait_offer(job.request.grant_tag(), kWaitSliceMs);
    if (offer.is_ok() || offer.code() != StatusCode::kDeadlineExceeded) return offer;
    if (interrupted()) return Status(StatusCode::kCancelled, "interrupted");
    const auto peer = node_.context().describe_peer(job.peer);
    if (!peer.is_ok()) return Status(StatusCode::kPeerLost, peer.status().message());
    if (now_ns() > end_ns) return offer;
  }
}

Status PrefillServer::compute(const Job& job, Sequence& sequence, baton::Transfer* transfer,
                              PrefillRecord& record) {
  const bool is_layerwise = job.request.hand_off == HandOff::kPush && transfer != nullptr;
  baton::ProgressWord word;
  std::optional<ChunkSubmitter> submitter;
  if (is_layerwise) {
    auto created = node_.context().create_progress_word();
    if (!created.is_ok()) return created.status();
    word = std::move(*created);
    submitter.emplace(*transfer, word);
  }
  const auto count = static_cast<uint32_t>(job.request.tokens.size());
  const uint32_t chunk_tokens = options_.chunk_tokens;
  const std::span<const uint32_t> tokens = job.request.tokens;
  const int64_t begin_cpu_ns = process_cpu_ns();
  record.begin_ns = now_ns();
  for (uint32_t begin = 0; begin < count; begin += chunk_tokens) {
    const uint32_t end = std::min(begin + chunk_tokens, count);
    progress_.say("request " + std::to_string(record.id) + " (" +
                  std::string(hand_off_name(job.request.hand_off)) + "): computing tokens " +
                  std::to_string(begin) + " to " + std::to_string(end) + " of " +
                  std::to_string(count));
    PrefillRecord::Chunk& chunk = record.chunks.emplace_back();
    chunk.token_begin = begin;
    chunk.token_end = end;
    chunk.computed_ns.reserve(node_.model().config().layers);
    if (submitter) BATON_RETURN_IF_ERROR(submitter->add(end));
    PrefillHooks hooks(chunk, is_layerwise ? &word : nullptr, transfer);
    BATON_RETURN_IF_ERROR(
        node_.forward().prefill(sequence, tokens.subspan(begin, end - begin), &hooks));
  }
  record.end_ns = now_ns();
  record.cpu_ns = process_cpu_ns() - begin_cpu_ns;
  return Status::ok();
}

Status PrefillServer::hand_over_paced(const Job& job, baton::Transfer& transfer,
                                      PrefillRecord& record) {
  auto word = node_.context().create_progress_word();
  if (!word.is_ok()) return word.status();
  const auto count = static_cast<uint32_t>(job.request.tokens.size());
  BATON_RETURN_IF_ERROR(transfer.submit_chunk({{0, count}, &*word, word->value()}));
  for (uint32_t layer = 0; layer < node_.model().config().layers; ++layer) {
    BATON_RETURN_IF_ERROR(pause(transfer, job.request.pause_ms));
    record.final_ns.push_back(now_ns());
    word->tick();
  }
  return Status::ok();
}

void PrefillServer::answer(baton::PeerId peer, const PrefillRecord& record) {
  const std::vector<uint8_t> text = encode(record);
  std::span<const uint8_t> rest = text;
  while (rest.size() > kMaxMessageBytes) {
    const auto part = rest.first(kMaxMessageBytes);
    outbox_.push_back({peer, kRecordPartTag, {part.begin(), part.end()}});
    rest = rest.subspan(kMaxMessageBytes);
  }
  outbox_.push_back({peer, kRecordTag, {rest.begin(), rest.end()}});
  send_outbox();
}

void PrefillServer::send_outbox() {
  // A peer that does not read keeps none of the others waiting, and keeps its own in order.
  std::vector<baton::PeerId> full;
  std::deque<Outgoing> waiting;
  for (Outgoing& one : outbox_) {
    Status sent = std::find(full.begin(), full.end(), one.peer) != full.end()
                      ? Status(StatusCode::kBusy, "")
                      : node_.context().send_message(one.peer, one.tag, one.bytes);
    if (sent.code() == StatusCode::kBusy) {
      full.push_back(one.peer);
      waiting.push_back(std::move(one));
    } else if (!sent.is_ok()) {
      progress_.say("a record was not sent: " + sent.to_string());
    }
  }
  outbox_ = std::move(waiting);
}

}  // namespace baton_engine
