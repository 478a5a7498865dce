// Groups of Grants: what the receiver of a fan-in divides, checks and arms before any of its
// permissions leaves the process.
#include <algorithm>

#include "src/api/context_impl.h"
#include "src/api/lease.h"
#include "src/kv/fan_in.h"

namespace baton::api {

namespace {

Status of_writer(size_t writer, PeerId peer, const Status& status) {
  return Status(status.code(), "writer " + std::to_string(writer) + " (peer " +
                                   std::to_string(peer.value) + "): " + status.message());
}

}  // namespace

Result<GrantGroup> ContextImpl::grant_group(const GrantGroupRequest& request) {
  std::vector<PeerEntry> peers;
  auto shares = divide_among(request, peers);
  if (!shares.is_ok()) return shares.status();
  std::vector<handoff::GrantGroupState::Member> members;
  Status made = make_members(request, peers, *shares, members);
  std::shared_ptr<handoff::GrantGroupState> group;
  Result<int64_t> alarm_ns = made;
  if (made.is_ok()) {
    group = handoff::GrantGroupState::create(
        new_group_id(), request.tag, members,
        [this](const std::shared_ptr<handoff::GrantState>& grant, Status why) {
          cancel_grant(grant, std::move(why));
        },
        clock_.now_ns());
    alarm_ns = enter_group(members);
  }
  if (!alarm_ns.is_ok()) {
    for (const auto& member : members) member.grant->give_back();
    return alarm_ns.status();
  }
  control_->set_alarm(*alarm_ns);
  std::vector<Grant> grants(request.writers.size());
  for (const auto& member : members)
    grants[member.writer] = Grant(shared_from_this(), member.grant);
  return GrantGroup(shared_from_this(), std::move(group), std::move(grants));
}

Result<std::vector<kv::WriterShare>> ContextImpl::divide_among(const GrantGroupRequest& request,
                                                               std::vector<PeerEntry>& peers) {
  auto target = local_layout(request.cache);
  if (!target.is_ok()) return target.status();
  if (request.writers.size() > kMaxSenders) {
    return Status(StatusCode::kInvalidArgument, std::to_string(request.writers.size()) +
                                                    " writers: at most " +
                                                    std::to_string(kMaxSenders));
  }
  kv::FanInRequest fan_in;
  fan_in.target = target->get();
  fan_in.tokens = request.tokens;
  fan_in.target_blocks = request.block_lists;
  fan_in.target_rank = request.target_rank;
  fan_in.allow_gaps = request.allow_gaps;
  peers.reserve(request.writers.size());  // the layouts stay where they are
  for (size_t i = 0; i < request.writers.size(); ++i) {
    const GrantGroupRequest::Writer& writer = request.writers[i];
    auto peer = ready_peer(writer.peer);
    if (!peer.is_ok()) return of_writer(i, writer.peer, peer.status());
    peers.push_back(std::move(*peer));
    auto source = find_cache(writer.peer, peers.back(), writer.source_cache);
    if (!source.is_ok()) return of_writer(i, writer.peer, source.status());
    fan_in.writers.push_back({&(*source)->layout, writer.tokens, writer.heads});
  }
  return kv::divide_target(fan_in);
}

Status ContextImpl::make_members(const GrantGroupRequest& request,
                                 const std::vector<PeerEntry>& peers,
                                 std::vector<kv::WriterShare>& shares,
                                 std::vector<handoff::GrantGroupState::Member>& members) {
  const auto wanted = std::count_if(shares.begin(), shares.end(),
                                    [](const auto& share) { return !share.heads.empty(); });
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    const auto count = static_cast<size_t>(wanted);
    BATON_RETURN_IF_ERROR(check_room(count, live_grants_.size(), "Grants"));
  }
  for (size_t i = 0; i < shares.size(); ++i) {
    if (shares[i].heads.empty()) continue;
    GrantRequest one;
    one.peer = request.writers[i].peer;
    one.cache = request.cache;
    one.source_cache = request.writers[i].source_cache;
    one.tokens = shares[i].tokens;
    one.heads = std::move(shares[i].heads);
    one.block_lists = std::move(shares[i].target_blocks);
    auto created = new_grant(one.peer, request.tag, request.deadline_ms, request.lease_ms);
    if (!created.is_ok()) return of_writer(i, one.peer, created.status());
    members.push_back({std::move(*created), static_cast<uint32_t>(i)});
    Status filled = fill_kv_grant(*members.back().grant, one, peers[i]);
    if (!filled.is_ok()) return of_writer(i, one.peer, filled);
  }
  return Status::ok();
}

GrantGroupId ContextImpl::new_group_id() {
  const std::lock_guard<std::mutex> lock(state_mutex_);
  return GrantGroupId(++last_group_);
}

Result<int64_t> ContextImpl::enter_group(
    const std::vector<handoff::GrantGroupState::Member>& members) {
  handoff::OpenGrants open;
  for (const auto& member : members) open.grants.push_back(member.grant);
  // One step, as enter_grant(): none of them enters, or all do.
  const std::lock_guard<std::mutex> lock(state_mutex_);
  auto alarm_ns = prepare_members(members);
  Status entered = alarm_ns.is_ok() ? engine_->submit(std::move(open)) : alarm_ns.status();
  if (!entered.is_ok()) {
    for (const auto& member : members) end_offer(member.grant->peer, member.grant->id);
    return entered;
  }
  for (const auto& member : members) {
    member.grant->meters->of(member.grant->request_kind()).started.add();
    live_grants_[member.grant->id] = member.grant;
  }
  return alarm_ns;
}

Result<int64_t> ContextImpl::prepare_members(
    const std::vector<handoff::GrantGroupState::Member>& members) {
  int64_t alarm_ns = INT64_MAX;
  BATON_RETURN_IF_ERROR(check_room(members.size(), live_grants_.size(), "Grants"));
  for (const auto& member : members) {
    const handoff::GrantState& grant = *member.grant;
    BATON_RETURN_IF_ERROR(check_uses(grant.uses));
    const auto peer = peers_.find(grant.peer);
    if (peer == peers_.end() || peer->second.phase != PeerPhase::kReady) {
      return of_writer(member.writer, grant.peer,
                       Status(StatusCode::kPeerLost, grant.describe() + ": the peer is gone"));
    }
    member.grant->meters = peer->second.meters;
    alarm_ns = std::min(alarm_ns, runs_out_ns(grant, peer->second.lease_basis_ns));
    Status due = begin_offer(peer->second, grant.peer, grant.id, offer_bytes(grant));
    if (!due.is_ok()) return of_writer(member.writer, grant.peer, due);
  }
  return alarm_ns;
}

void ContextImpl::member_ended(const handoff::GrantState& grant) {
  handoff::GrantGroupState& group = *grant.group;
  if (!group.member_ended(grant, clock_.now_ns())) return;
  Event event;
  event.kind = EventKind::kGrantGroupEnded;
  event.group = group.id;
  event.tag = group.tag;
  event.status = group.life.status();
  emit(std::move(event));
}

}  // namespace baton::api
