#include "examples/reference_engine/prefill_rank.h"

#include <poll.h>

#include <algorithm>
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
// Shorter: a request that is withdrawn keeps others waiting meanwhile.
constexpr uint32_t kOfferSliceMs = 10;
// A request's Grants and its readers' names come with it; one that does not was withdrawn.
constexpr int64_t kOfferWaitNs = 5'000'000'000;

// The failure of the first that has ended, if one has while others may go on.
Status ended_early(std::span<const Outgoing> hand_offs) {
  for (const Outgoing& one : hand_offs) {
    if (!baton::is_terminal(one.state())) continue;
    const Status status = one.status();
    // DONE before all was computed: nobody counts on it, and it cannot be.
    if (!status.is_ok()) return status;
  }
  return Status::ok();
}

// Notes when each layer's KV is final, and tells Baton when there is a word to tell it by.
class PrefillHooks final : public ForwardHooks {
 public:
  PrefillHooks(PrefillRecord::Chunk& chunk, baton::ProgressWord* word,
               std::span<const Outgoing> hand_offs)
      : chunk_(chunk), word_(word), hand_offs_(hand_offs) {}

  Status on_layer_kv_final(const Chunk& /*chunk*/, uint32_t /*layer*/) override {
    chunk_.computed_ns.push_back(now_ns());
    if (word_ != nullptr) word_->tick();
    if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
    // Nobody waits for the rest any more.
    return ended_early(hand_offs_);
  }

 private:
  PrefillRecord::Chunk& chunk_;
  baton::ProgressWord* word_;
  std::span<const Outgoing> hand_offs_;
};

// Waits for `pause_ms`, or less: an interrupt or a hand-off's end is an error at once.
Status pause(std::span<const Outgoing> hand_offs, uint32_t pause_ms) {
  const int64_t end_ns = now_ns() + int64_t{pause_ms} * 1'000'000;
  while (true) {
    if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
    BATON_RETURN_IF_ERROR(ended_early(hand_offs));
    const int64_t left_ns = end_ns - now_ns();
    if (left_ns <= 0) return Status::ok();
    const int64_t left_ms = (left_ns + 999'999) / 1'000'000;
    hand_offs.front()
        .wait(static_cast<uint32_t>(std::min<int64_t>(left_ms, kWaitSliceMs)))
        .ignore();
  }
}

Status withdrawn() { return {StatusCode::kCancelled, "the request was withdrawn"}; }

void add_layers(PrefillRecord& record, const baton::TransferRecord& sent) {
  const size_t layers = std::max(record.posted_ns.size(), sent.layers.size());
  record.posted_ns.resize(layers);
  record.sent_bytes.resize(layers);
  for (size_t i = 0; i < sent.layers.size(); ++i) {
    record.posted_ns[i] = std::max(record.posted_ns[i], sent.layers[i].posted_ns);
    record.sent_bytes[i] += sent.layers[i].bytes;
  }
}

}  // namespace

PrefillRank::PrefillRank(EngineNode& node, KvPool& pool, const EngineOptions& options,
                         Progress& progress, RankGroup* group, IsWithdrawn is_withdrawn)
    : node_(node),
      pool_(pool),
      options_(options),
      progress_(progress),
      group_(group),
      is_withdrawn_(std::move(is_withdrawn)),
      owned_heads_(owned_kv_heads_of(node.model().config(),
                                     parts_of_rank(options.rank, options.prefill_tp))) {}

Result<bool> PrefillRank::start(const PrefillJob& job) {
  const auto tokens = static_cast<uint32_t>(job.request.tokens.size());
  auto sequence = tokens == 0
                      ? Result<Sequence>(StatusCode::kInvalidArgument, "no tokens to prefill")
                      : Sequence::create(pool_, tokens);
  if (sequence.code() == StatusCode::kExhausted && is_sending()) return false;
  PrefillRecord record;
  record.id = job.request.id;
  Status status = sequence.status();
  std::optional<Sending> sending;
  if (sequence.is_ok()) {
    sending.emplace(Sending{job, std::move(*sequence), {}, record});
    status = open_hand_offs(*sending);
    if (status.is_ok()) status = compute(*sending);
  }
  if (group_ != nullptr) {
    const Status agreed = group_->end_pass(status);
    if (interrupted() || (!agreed.is_ok() && agreed.code() != StatusCode::kCancelled)) {
      if (sending) sending_.push_back(std::move(*sending));
      return interrupted() ? Status(StatusCode::kCancelled, "interrupted") : agreed;
    }
    if (status.is_ok()) status = agreed;
  }
  if (status.is_ok() && job.request.hand_off == HandOff::kPull && is_withdrawn_ &&
      is_withdrawn_(job)) {
    // An offer that nobody has taken up ends by nobody else.
    status = withdrawn();
  }
  if (!sending) {
    record.status = status;
    finished_.push_back({job.key, std::move(record)});
    return true;
  }
  if (status.is_ok() && job.request.hand_off == HandOff::kPaced) status = hand_over_paced(*sending);
  if (status.is_ok()) status = seal(*sending);
  if (sending->hand_offs.empty()) {
    finish(*sending, status);
    return true;
  }
  if (!status.is_ok()) {
    // The pages stay until the hand-offs have ended; on_event finishes.
    sending->record.status = status;
    for (Outgoing& one : sending->hand_offs) one.cancel("prefill failed: " + status.message());
  }
  sending_.push_back(std::move(*sending));
  // The events of those that have ended by now may have been taken already.
  finish_ended();
  return true;
}

Status PrefillRank::open_hand_offs(Sending& sending) {
  const PrefillRequest& request = sending.job.request;
  if (request.hand_off == HandOff::kNone || owned_heads_.is_empty()) return Status::ok();
  for (uint32_t rank = 0; rank < request.decode_tp; ++rank) {
    const IndexRange wanted =
        kv_heads_of(node_.model().config(), parts_of_rank(rank, request.decode_tp));
    if (overlap(owned_heads_, wanted).is_empty()) continue;
    auto one =
        request.hand_off == HandOff::kPull ? offer_to(sending, rank) : push_to(sending, rank);
    if (!one.is_ok()) return one.status();
    sending.hand_offs.push_back(std::move(*one));
  }
  return Status::ok();
}

Result<Outgoing> PrefillRank::push_to(const Sending& sending, uint32_t decode_rank) {
  const auto offer = wait_offer(sending.job, decode_rank);
  if (!offer.is_ok()) return offer.status();
  const std::span<const uint32_t> blocks = sending.sequence.blocks();
  auto transfer = node_.context().push(
      {offer->id, node_.cache().id(), {{blocks.begin(), blocks.end()}}, options_.deadline_ms});
  if (!transfer.is_ok()) return transfer.status();
  return Outgoing(std::move(*transfer));
}

Result<Outgoing> PrefillRank::offer_to(const Sending& sending, uint32_t decode_rank) {
  const auto reader = wait_reader(sending.job, decode_rank);
  if (!reader.is_ok()) return reader.status();
  const PrefillRequest& request = sending.job.request;
  const std::span<const uint32_t> blocks = sending.sequence.blocks();
  baton::ReadGrantRequest offer;
  offer.peer = *reader;
  offer.cache = node_.cache().id();
  offer.target_cache = kCacheName;
  offer.tag = grant_tag(request.session, request.id, decode_rank);
  offer.tokens = {0, static_cast<uint32_t>(request.tokens.size())};
  offer.block_lists = {{blocks.begin(), blocks.end()}};
  offer.deadline_ms = options_.deadline_ms;
  auto grant = node_.context().offer_read(offer);
  if (!grant.is_ok()) return grant.status();
  return Outgoing(std::move(*grant));
}

Result<baton::GrantOffer> PrefillRank::wait_offer(const PrefillJob& job, uint32_t decode_rank) {
  const std::string tag = grant_tag(job.request.session, job.request.id, decode_rank);
  const int64_t end_ns = now_ns() + kOfferWaitNs;
  while (true) {
    auto offer = node_.context().wait_offer(tag, kOfferSliceMs);
    if (offer.is_ok() || offer.code() != StatusCode::kDeadlineExceeded) return offer;
    BATON_RETURN_IF_ERROR(check_wanted(job));
    if (now_ns() > end_ns) return offer;
  }
}

Result<baton::PeerId> PrefillRank::wait_reader(const PrefillJob& job, uint32_t decode_rank) {
  const ReaderName name{job.request.session, decode_rank};
  const int64_t end_ns = now_ns() + kOfferWaitNs;
  while (true) {
    const auto found = readers_.find(name);
    if (found != readers_.end()) return found->second;
    // Its name comes as an event, which is_withdrawn_ takes.
    pollfd entry = {node_.context().event_fd(), POLLIN, 0};
    ::poll(&entry, 1, static_cast<int>(kOfferSliceMs));
    BATON_RETURN_IF_ERROR(check_wanted(job));
    if (now_ns() > end_ns) {
      return Status(StatusCode::kDeadlineExceeded,
                    "decode rank " + std::to_string(decode_rank) + " did not say who it is");
    }
  }
}

Status PrefillRank::check_wanted(const PrefillJob& job) const {
  if (interrupted()) return {StatusCode::kCancelled, "interrupted"};
  if (is_withdrawn_ && is_withdrawn_(job)) return withdrawn();
  if (job.peer) {
    const auto peer = node_.context().describe_peer(job.peer);
    if (!peer.is_ok()) return {StatusCode::kPeerLost, peer.status().message()};
  }
  if (group_ != nullptr && group_->is_given_up()) {
    return {StatusCode::kCancelled, "another rank gave the request up"};
  }
  return Status::ok();
}

Status PrefillRank::compute(Sending& sending) {
  const PrefillRequest& request = sending.job.request;
  PrefillRecord& record = sending.record;
  const bool is_layerwise =
      (request.hand_off == HandOff::kPush || request.hand_off == HandOff::kPull) &&
      !sending.hand_offs.empty();
  baton::ProgressWord word;
  std::vector<ChunkSubmitter> submitters;
  if (is_layerwise) {
    auto created = node_.context().create_progress_word();
    if (!created.is_ok()) return created.status();
    word = std::move(*created);
    for (Outgoing& one : sending.hand_offs) submitters.emplace_back(one, word);
  }
  const auto count = static_cast<uint32_t>(request.tokens.size());
  const uint32_t chunk_tokens = options_.chunk_tokens;
  const std::span<const uint32_t> tokens = request.tokens;
  const int64_t begin_cpu_ns = process_cpu_ns();
  record.begin_ns = now_ns();
  for (uint32_t begin = 0; begin < count; begin += chunk_tokens) {
    const uint32_t end = std::min(begin + chunk_tokens, count);
    if (options_.rank == 0) {
      progress_.say("request " + std::to_string(record.id) + " (" +
                    std::string(hand_off_name(request.hand_off)) + "): computing tokens " +
                    std::to_string(begin) + " to " + std::to_string(end) + " of " +
                    std::to_string(count));
    }
    PrefillRecord::Chunk& chunk = record.chunks.emplace_back();
    chunk.token_begin = begin;
    chunk.token_end = end;
    chunk.computed_ns.reserve(node_.model().config().layers);
    for (ChunkSubmitter& submitter : submitters) BATON_RETURN_IF_ERROR(submitter.add(end));
    PrefillHooks hooks(chunk, is_layerwise ? &word : nullptr, sending.hand_offs);
    BATON_RETURN_IF_ERROR(
        node_.rank_forward().prefill(sending.sequence, tokens.subspan(begin, end - begin), &hooks));
  }
  record.end_ns = now_ns();
  record.cpu_ns = process_cpu_ns() - begin_cpu_ns;
  return Status::ok();
}

Status PrefillRank::hand_over_paced(Sending& sending) {
  if (sending.hand_offs.empty()) return Status::ok();
  auto word = node_.context().create_progress_word();
  if (!word.is_ok()) return word.status();
  const auto count = static_cast<uint32_t>(sending.job.request.tokens.size());
  for (Outgoing& one : sending.hand_offs) {
    BATON_RETURN_IF_ERROR(one.submit_chunk({{0, count}, &*word, word->value()}));
  }
  for (uint32_t layer = 0; layer < node_.model().config().layers; ++layer) {
    BATON_RETURN_IF_ERROR(pause(sending.hand_offs, sending.job.request.pause_ms));
    sending.record.final_ns.push_back(now_ns());
    word->tick();
  }
  return Status::ok();
}

Status PrefillRank::seal(Sending& sending) {
  PrefillRecord& record = sending.record;
  if (record.final_ns.empty()) record.final_ns = record.chunks.back().computed_ns;
  for (Outgoing& one : sending.hand_offs) BATON_RETURN_IF_ERROR(seal_when_room(one));
  return Status::ok();
}

bool PrefillRank::on_event(const Event& event) {
  if (event.kind == EventKind::kMessage && event.tag_number == kReaderTag) {
    const auto name = decode_reader(event.message);
    if (name.is_ok()) readers_[*name] = event.peer;
    return false;
  }
  if (event.kind == EventKind::kPeerDown) {
    std::erase_if(readers_, [&event](const auto& reader) { return reader.second == event.peer; });
    return false;
  }
  const bool is_end =
      event.kind == EventKind::kTransferEnded || event.kind == EventKind::kGrantEnded;
  return is_end && finish_ended();
}

bool PrefillRank::finish_ended() {
  const size_t before = sending_.size();
  sending_.remove_if([this](Sending& sending) {
    const bool has_ended =
        std::all_of(sending.hand_offs.begin(), sending.hand_offs.end(),
                    [](const Outgoing& one) { return baton::is_terminal(one.state()); });
    if (!has_ended) return false;
    Status status;
    for (const Outgoing& one : sending.hand_offs) {
      if (status.is_ok()) status = one.status();
      add_layers(sending.record, one.record());
    }
    finish(sending, status.is_ok() ? sending.record.status : status);
    return true;  // its pages are free from here on
  });
  return sending_.size() < before;
}

void PrefillRank::withdraw(uint64_t key) {
  for (Sending& sending : sending_) {
    if (sending.job.key != key) continue;
    for (Outgoing& one : sending.hand_offs) {
      // The others end with their Grants.
      if (one.is_read()) one.cancel("the request was withdrawn");
    }
  }
}

void PrefillRank::finish(Sending& sending, const Status& status) {
  PrefillRecord& record = sending.record;
  record.status = status;
  if (!status.is_ok()) {
    progress_.say("request " + std::to_string(record.id) + ": " + status.to_string());
  }
  PrefillRecord::Rank& own = record.ranks.emplace_back();
  own.head_first = owned_heads_.first;
  own.heads = owned_heads_.count;
  own.begin_ns = record.begin_ns;
  own.end_ns = record.end_ns;
  own.cpu_ns = record.cpu_ns;
  own.final_ns = record.final_ns;
  own.posted_ns = record.posted_ns;
  own.sent_bytes = record.sent_bytes;
  finished_.push_back({sending.job.key, std::move(record)});
}

std::vector<PrefillRank::Finished> PrefillRank::take_finished() {
  return std::exchange(finished_, {});
}

}  // namespace baton_engine
