// Pulled hand-offs, both sides. The source counts final tokens into slots of the reader; the reader
// reads what they complete, opens its Gates, and has the last word (docs/architecture.md, "The life
// of a pull").
#include <algorithm>

#include "src/base/assert.h"
#include "src/handoff/engine.h"
#include "src/handoff/pull_state.h"
#include "src/handoff/read_grant_state.h"

namespace baton::handoff {

namespace {

// Immediates, or pieces, of one request before the next one's turn; as engine_send.cc.
constexpr uint32_t kPiecesPerTurn = 512;
// How long a source that ended waits for the reader's word before it fences the reader's Paths.
constexpr int64_t kReaderTimeoutNs = 500'000'000;
// And from its end to its own verdict, which then is a doubt; as a writer waits for a receiver's.
constexpr int64_t kReadersWordTimeoutNs = 1'500'000'000;
// A read that was refused is followed by the source's Cancel, which says why; on another
// connection, so it may take a moment more.
constexpr int64_t kRefusalNewsNs = 200'000'000;
constexpr uint64_t kStripeBytes = 1u << 20;

wire::GrantOffer offer_of(const ReadGrantState& grant, int64_t now_ns) {
  wire::GrantOffer offer;
  offer.grant = grant.grant;
  offer.kind = wire::GrantKind::kKvRead;
  offer.tag = grant.tag;
  offer.target_cache = grant.target_cache;
  offer.source_cache = grant.source_cache;
  offer.tokens = grant.tokens;
  offer.block_lists = grant.block_lists;
  for (uint32_t i = 0; i < grant.num_layers; ++i)
    offer.units_per_slot.push_back(static_cast<uint32_t>(grant.layers[i].units));
  offer.lease_ms = static_cast<uint32_t>(grant.lease_ns / 1'000'000);
  offer.deadline_ms =
      static_cast<uint32_t>(std::max<int64_t>(0, grant.deadline_ns - now_ns) / 1'000'000);
  return offer;
}

wire::ReadStart start_of(const PullState& pull) {
  wire::ReadStart start;
  start.grant = pull.id;
  for (uint32_t i = 0; i < pull.num_layers; ++i) {
    start.slots.push_back({pull.layers[i].slot.value, pull.layers[i].generation});
    start.units_per_slot.push_back(pull.reads[i].num_tokens());
  }
  return start;
}

template <typename Section>
const Section& section_of(const std::vector<Section>& sections, SectionId id) {
  const auto found = std::find_if(sections.begin(), sections.end(),
                                  [id](const Section& one) { return one.id == id.value; });
  BATON_ASSERT(found != sections.end(), "a Plan names sections that its request holds");
  return *found;
}

}  // namespace

// ---- the source

void Engine::open_read_grant(Link& link, const std::shared_ptr<TransferState>& transfer,
                             int64_t now_ns) {
  auto& grant = static_cast<ReadGrantState&>(*transfer);
  if (!grant.life.is_active()) {  // cancelled before anybody heard of it
    grant.life.finish(grant.life.status(), now_ns);
    finish_transfer(transfer, now_ns);
    return;
  }
  read_grants_[grant.grant.value] = &grant;
  link.transfers.push_back(transfer);
  send_or_drop(link, offer_of(grant, now_ns));
}

ReadGrantState* Engine::find_read_grant(const Link& link, GrantId grant) const {
  const auto found = read_grants_.find(grant.value);
  if (found == read_grants_.end() || found->second->peer != link.peer) return nullptr;
  return found->second;
}

void Engine::read_start_arrived(Link& link, const wire::ReadStart& start) {
  ReadGrantState* grant = find_read_grant(link, start.grant);
  if (grant == nullptr) return;  // it ended, and the reader was told
  bool fits = !grant->reader_started && start.slots.size() == grant->num_layers;
  for (uint32_t i = 0; fits && i < grant->num_layers; ++i)
    fits = start.units_per_slot[i] == grant->told[i].num_tokens();
  if (fits) {
    grant->start(start.slots);
    return;
  }
  output_->drop_peer(
      link.peer,
      Status(StatusCode::kProtocolError,
             grant->describe() + ": a ReadStart that counts other tokens, or comes twice"));
}

// Layers of the chunks at the head that the caller has declared final meanwhile. Also before the
// reader comes, so that chunks do not pile up.
void Engine::take_ticks(ReadGrantState& grant, int64_t now_ns) {
  while (grant.chunk_head != grant.chunk_tail) {
    Chunk& chunk = grant.chunks[grant.chunk_head % TransferState::kMaxChunks];
    const uint32_t ready = ready_layers(grant, chunk);
    for (; grant.ticked_layer < ready; ++grant.ticked_layer) {
      grant.layers[grant.ticked_layer].ticked_ns.store(now_ns, std::memory_order_relaxed);
      grant.layer_final(grant.ticked_layer, chunk.tokens);
    }
    if (ready < grant.num_layers) {
      poll_word(chunk, now_ns);
      return;
    }
    chunk = Chunk();
    ++grant.chunk_head;
    grant.ticked_layer = 0;
    grant.chunks_queued.fetch_sub(1, std::memory_order_release);
  }
}

bool Engine::stage_told(Link& link, ReadGrantState& grant, uint32_t layer, uint32_t tokens) {
  uint32_t full = 0;
  while (LinkPath* path = pick_path(link, grant, full)) {
    if (path->channel->stage_signal({&grant, grant.grant.value}, grant.slots[layer], tokens)) {
      grant.staged(path->ordinal, layer, tokens);
      return true;
    }
    full |= 1u << path->ordinal;
  }
  return false;
}

uint32_t Engine::pump_read_grant(Link& link, ReadGrantState& grant, int64_t now_ns) {
  take_ticks(grant, now_ns);
  // A reader that has said its word has given its slots away.
  if (!grant.reader_started || !grant.has_untold || grant.has_verdict) return 0;
  uint32_t pieces = 0;
  for (uint32_t i = 0; i < grant.num_layers; ++i) {
    const ReadGrantState::Layer& layer = grant.told[i];
    while (layer.told < layer.final_tokens) {
      if (pieces == kPiecesPerTurn) {
        link.more_ready = true;
        return pieces;
      }
      const uint32_t tokens = std::min(counter::kMaxWeight, layer.final_tokens - layer.told);
      if (!stage_told(link, grant, i, tokens)) {
        if (push_all(link) > 0) continue;
        link.path_full = true;
        return pieces;
      }
      ++pieces;
    }
  }
  grant.has_untold = false;
  return pieces;
}

void Engine::read_done_arrived(Link& link, const wire::ReadDone& done) {
  // Acknowledged always, as a GrantEnd is.
  send_or_drop(link, wire::GrantEndAck{done.grant});
  ReadGrantState* grant = find_read_grant(link, done.grant);
  if (grant == nullptr || grant->has_verdict) return;  // a reader answers a late Cancel again
  const bool is_whole = grant->is_all_told() && done.units == grant->plan->total_units();
  if (done.code == StatusCode::kOk && !is_whole) {
    output_->drop_peer(
        link.peer,
        Status(StatusCode::kProtocolError,
               grant->describe() + ": ReadDone says OK after " + std::to_string(done.units) +
                   " of " + std::to_string(grant->plan->total_units()) + " units" +
                   (grant->is_all_told() ? "" : ", before all tokens were final")));
    return;
  }
  grant->has_verdict = true;
  grant->verdict_ns = clock_.now_ns();
  grant->verdict = done.code;
  grant->verdict_message = done.message;
}

bool Engine::settle_read_grant(Link& link, ReadGrantState& grant, int64_t now_ns) {
  if (grant.has_verdict) {
    drop_staged(link, &grant);
    if (grant.ops_out > 0) {
      fence_silent_paths(link, grant, now_ns);
      return false;
    }
    grant.life.finish(grant.verdict == StatusCode::kOk
                          ? Status::ok()
                          : Status(grant.verdict, grant.verdict_message),
                      now_ns);
    return true;
  }
  if (grant.life.state() != State::kCancelling) return false;
  // From the moment of the cancel on reads are refused (on_resolve).
  if (grant.cancel_seen_ns == 0) begin_transfer_end(link, grant, now_ns);
  if (!grant.quiesced_sent && link.up) send_quiesced(link, grant);
  const Status why = grant.life.status();
  // A reader that was told of nothing has read nothing.
  if (!grant.reader_started && grant.ops_out == 0) {
    grant.life.finish(why, now_ns);
    return true;
  }
  const int64_t fence_at_ns = grant.cancel_seen_ns + kReaderTimeoutNs;
  if (link.up && now_ns < fence_at_ns) {
    want_timer(fence_at_ns);
    return false;
  }
  // The reader does not answer. What could still read is fenced.
  bool is_quiet = grant.ops_out == 0;
  for (LinkPath& path : link.paths) {
    if (!path.is_there()) continue;
    want_fence(path, FenceCause::kNotQuiet);
    want_timer(now_ns);
    is_quiet = false;
  }
  if (!is_quiet) return false;
  // The fence is what lets a reader that waited for a Path end, and say how.
  const int64_t word_until_ns = grant.cancel_seen_ns + kReadersWordTimeoutNs;
  if (link.up && now_ns < word_until_ns) {
    want_timer(word_until_ns);
    return false;
  }
  // A reader that is gone has no word; one that is there may have been done before it stood still.
  const bool is_gone = !link.up && link.down_why.code() == StatusCode::kPeerLost;
  grant.life.finish(
      Status(is_gone ? StatusCode::kPeerLost : StatusCode::kInDoubt,
             grant.describe() + " ended without the reader's word: " + why.to_string()),
      now_ns);
  return true;
}

// ---- the reader

void Engine::open_pull(Link& link, PullState& pull) {
  pull.layers_left = pull.num_layers;
  link.pulls.push_back(&pull);
  if (pull.life.is_active()) send_or_drop(link, start_of(pull));
}

bool Engine::next_read_unit(PullState& pull) {
  for (; pull.first_ready < pull.num_layers; ++pull.first_ready) {
    PullState::Reads& layer = pull.reads[pull.first_ready];
    while (layer.has_ready() && !layer.is_lost) {
      if (!layer.cursor_open) {
        const uint32_t begin = layer.tokens.begin;
        layer.cursor = pull.plan->cursor(layer.ordinal,
                                         {begin + layer.asked_tokens, begin + layer.final_tokens});
        layer.asked_tokens = layer.final_tokens;
        layer.cursor_open = true;
      }
      if (layer.cursor.next(pull.unit)) {
        pull.unit_pending = true;
        pull.next_piece = 0;
        pull.piece_offset = 0;
        return true;
      }
      layer.cursor_open = false;
      pull.look_at(layer);
    }
  }
  return false;
}

Engine::LinkPath* Engine::pick_read_path(Link& link, PullState& pull, uint32_t without) {
  PullState::Stripe& stripe = pull.stripe;
  LinkPath* const last = &link.paths[stripe.path];
  if (without == 0 && stripe.bytes_left > 0 && last->is_open()) return last;
  LinkPath* best = nullptr;
  for (LinkPath& path : link.paths) {
    if (!path.is_open() || (without >> path.ordinal & 1) != 0) continue;
    if (best != nullptr && best->channel->load_bytes() <= path.channel->load_bytes()) continue;
    const bool reaches =
        std::all_of(pull.remote.begin(), pull.remote.end(),
                    [&](const auto& remote) { return remote.on(path.plan.peer_rail) != nullptr; });
    if (reaches) best = &path;
  }
  if (best != nullptr) stripe = {best->ordinal, kStripeBytes};
  return best;
}

// One range of the source, to its place in the unit's range here.
bool Engine::stage_read(Link& link, PullState& pull) {
  const kv::Unit& unit = pull.unit;
  const kv::SourceRange& from = unit.sources[pull.next_piece];
  const auto& local = section_of(pull.local, unit.target_section);
  const auto& remote = section_of(pull.remote, from.section);
  PullState::Reads& layer = pull.reads[unit.layer_ordinal];
  uint32_t full = 0;
  while (LinkPath* path = pick_read_path(link, pull, full)) {
    const baton_source to{local.memory + unit.target_offset_bytes + pull.piece_offset,
                          local.regions[path->plan.rail.value], from.length_bytes, 0};
    const baton_region_key& key = *remote.on(path->plan.peer_rail);
    transfer::Piece piece;
    piece.sources = &to;
    piece.num_sources = 1;
    piece.length_bytes = from.length_bytes;
    piece.target_key = key.key;
    piece.target_address = key.base + from.offset_bytes;
    if (!path->channel->stage_raw(BATON_POST_READ, piece, {&layer, pull.id.value})) {
      full |= 1u << path->ordinal;
      continue;
    }
    layer.used_paths |= 1u << path->ordinal;
    pull.stripe.bytes_left -= std::min<uint64_t>(pull.stripe.bytes_left, from.length_bytes);
    pull.piece_offset += from.length_bytes;
    if (++pull.next_piece == unit.num_sources) pull.unit_pending = false;
    return true;
  }
  return false;
}

bool Engine::may_read(const PullState& pull) const {
  if (!pull.life.is_active() || pull.is_refused) return false;
  if (!pull.unit_pending && pull.first_ready == pull.num_layers) return false;
  // No lease is held before the first echo.
  return pull.started || output_->lease_basis_ns(pull.peer) != 0;
}

uint32_t Engine::pump_pull(Link& link, PullState& pull) {
  if (!may_read(pull)) return 0;
  pull.started = true;
  uint32_t pieces = 0;
  while (pieces < kPiecesPerTurn) {
    if (!pull.unit_pending && !next_read_unit(pull)) return pieces;
    if (!stage_read(link, pull)) {
      if (push_all(link) > 0) continue;
      link.path_full = true;
      return pieces;
    }
    ++pieces;
  }
  link.more_ready = true;
  return pieces;
}

// What follows from reports, outside of the plug-in's calls.
void Engine::settle_pull(Link& link, PullState& pull, int64_t now_ns) {
  for (const uint32_t ordinal : pull.whole) {
    pull.no_longer_missing(pull.reads[ordinal], now_ns);
    pull.units_counted.fetch_add(pull.layers[ordinal].units, std::memory_order_relaxed);
    pull.layers[ordinal].counted.store(pull.layers[ordinal].units, std::memory_order_relaxed);
    layer_counted(pull, ordinal);
  }
  pull.whole.clear();
  if (!pull.life.is_active()) return;
  if (pull.has_lost) read_lost_again(link, pull);
  if (!pull.is_refused) return;
  if (pull.refused_seen_ns == 0) pull.refused_seen_ns = now_ns;
  const int64_t until_ns = pull.refused_seen_ns + kRefusalNewsNs;
  if (now_ns < until_ns) {
    want_timer(until_ns);
    return;
  }
  pull.begin_cancel(Status(StatusCode::kPermissionDenied,
                           pull.describe() + ": the source refused a read, and did not say why"),
                    now_ns);
}

// A layer of which a Path took a part with it is read once more, over the Paths that are left, when
// that one is fenced: nothing is written by the old reads any more then.
void Engine::read_lost_again(Link& link, PullState& pull) {
  const bool is_dying = std::any_of(link.paths.begin(), link.paths.end(), [](const LinkPath& path) {
    return path.channel != nullptr && !path.is_open();
  });
  if (is_dying) return;
  pull.has_lost = false;
  for (uint32_t i = 0; i < pull.num_layers; ++i) {
    PullState::Reads& layer = pull.reads[i];
    if (!layer.is_lost) continue;
    drop_staged(link, &layer);
    if (layer.ops_out > 0) {
      pull.has_lost = true;
    } else {
      pull.begin_again(layer);
    }
  }
}

void Engine::drop_reads(Link& link, PullState& pull) {
  pull.unit_pending = false;
  for (uint32_t i = 0; i < pull.num_layers; ++i) drop_staged(link, &pull.reads[i]);
}

void Engine::finish_pull(Link& link, PullState& pull) {
  BATON_ASSERT(pull.ops_out() == 0, "a Pull ends with nothing in flight");
  link.pulls.erase(std::find(link.pulls.begin(), link.pulls.end(), &pull));
  output_->offer_ended(link.peer, pull.id);
}

// ---- both

void Engine::drop_staged(Link& link, const transfer::PostOwner* owner) {
  for (LinkPath& path : link.paths) {
    if (path.channel != nullptr) path.channel->drop(owner);
  }
}

}  // namespace baton::handoff
