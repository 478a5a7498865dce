// Which Path the next piece takes. A Transfer stays with one for a stripe, so that its units merge
// and share an immediate; then the one with the least to do has its turn.
#include "src/base/assert.h"
#include "src/handoff/engine.h"

namespace baton::handoff {

namespace {

constexpr uint32_t kStripeUnits = 64;
constexpr uint64_t kStripeBytes = 1u << 20;

const TransferState::LocalSection& local_of(const TransferState& transfer, uint32_t section) {
  for (const auto& local : transfer.local) {
    if (local.id == section) return local;
  }
  BATON_ASSERT(false, "a Plan names sections that its Transfer holds");
  return transfer.local.front();
}

const TransferState::RemoteSection& remote_of(const TransferState& transfer, uint32_t section) {
  for (const auto& remote : transfer.remote) {
    if (remote.id == section) return remote;
  }
  BATON_ASSERT(false, "a Plan names sections that the peer described");
  return transfer.remote.front();
}

}  // namespace

Engine::LinkPath* Engine::pick_path(Link& link, const TransferState& transfer, uint32_t without) {
  LinkPath* best = nullptr;
  for (LinkPath& path : link.paths) {
    if (!path.is_open() || (without >> path.ordinal & 1) != 0) continue;
    if (best != nullptr && best->channel->load_bytes() <= path.channel->load_bytes()) continue;
    if (transfer.reaches(path.plan.peer_rail)) best = &path;
  }
  return best;
}

Engine::LinkPath* Engine::stripe_path(Link& link, TransferState& transfer) {
  TransferState::Stripe& stripe = transfer.stripe;
  LinkPath* path = &link.paths[stripe.path];
  if (stripe.units_left > 0 && stripe.bytes_left > 0 && path->is_open()) return path;
  LinkPath* next = pick_path(link, transfer, 0);
  if (next == nullptr) return nullptr;
  // What it leaves behind is counted now, not when it comes back.
  if (next != path && path->is_open()) path->channel->close_batch();
  stripe = {next->ordinal, kStripeUnits, kStripeBytes};
  return next;
}

transfer::Piece Engine::piece_of(const LinkPath& path, const TransferState& transfer,
                                 const kv::Unit& unit, baton_source* sources) {
  for (uint32_t i = 0; i < unit.num_sources; ++i) {
    const kv::SourceRange& range = unit.sources[i];
    const TransferState::LocalSection& local = local_of(transfer, range.section.value);
    sources[i] = baton_source{local.memory + range.offset_bytes,
                              local.regions[path.plan.rail.value], range.length_bytes, 0};
  }
  const baton_region_key* key =
      remote_of(transfer, unit.target_section.value).on(path.plan.peer_rail);
  BATON_ASSERT(key != nullptr, "a Path is picked that reaches every section");
  transfer::Piece piece;
  piece.sources = sources;
  piece.num_sources = unit.num_sources;
  piece.length_bytes = unit.length_bytes;
  piece.target_key = key->key;
  piece.target_address = key->base + unit.target_offset_bytes;
  return piece;
}

bool Engine::stage_next_unit(Link& link, TransferState& transfer) {
  const kv::Unit& unit = transfer.unit;
  baton_source sources[kv::kMaxUnitSources];
  uint32_t full = 0;
  for (LinkPath* path = stripe_path(link, transfer); path != nullptr;
       path = pick_path(link, transfer, full)) {
    const transfer::Piece piece = piece_of(*path, transfer, unit, sources);
    if (!path->channel->stage_unit(piece, {&transfer, transfer.grant.value},
                                   transfer.slots[unit.layer_ordinal])) {
      full |= 1u << path->ordinal;
      continue;
    }
    TransferState::Stripe& stripe = transfer.stripe;
    if (stripe.path != path->ordinal) stripe = {path->ordinal, kStripeUnits, kStripeBytes};
    --stripe.units_left;
    stripe.bytes_left -= std::min<uint64_t>(stripe.bytes_left, unit.length_bytes);
    const Chunk& chunk = transfer.chunks[transfer.chunk_head % TransferState::kMaxChunks];
    transfer.settlement.staged(path->ordinal, chunk.tokens, unit.layer_ordinal,
                               transfer.cursor_index);
    return true;
  }
  return false;
}

uint32_t Engine::push_all(Link& link) {
  uint32_t pushed = 0;
  for (LinkPath& path : link.paths) {
    if (path.is_open()) pushed += path.channel->push();
  }
  return pushed;
}

bool Engine::has_staged(const Link& link, const transfer::PostOwner* owner, bool open_only) {
  for (const LinkPath& path : link.paths) {
    if (path.channel == nullptr || (open_only && !path.is_open())) continue;
    if (path.channel->has_staged(owner)) return true;
  }
  return false;
}

}  // namespace baton::handoff
