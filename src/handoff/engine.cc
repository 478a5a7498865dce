#include "src/handoff/engine.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>

#include "src/base/assert.h"
#include "src/handoff/pull_state.h"

namespace baton::handoff {

namespace {

// Queued commands that one turn executes, of each queue: keeps the data path responsive under a
// flood of submissions.
constexpr uint32_t kCommandsPerTurn = 64;
// Messages and path events of all peers between two turns. The control thread keeps what finds it
// full (ContextImpl::pass_to_data).
constexpr uint32_t kControlEntries = 8192;

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

}  // namespace

Engine::Engine(const Limits& limits, EngineOutput* output, counter::CounterTable* counters,
               std::shared_ptr<counter::Waker> waker, base::Clock& clock, base::Logger& logger)
    : output_(output),
      counters_(counters),
      waker_(std::move(waker)),
      clock_(clock),
      logger_(logger),
      submissions_(limits.max_submissions),
      control_(kControlEntries),
      cancels_(std::bit_ceil(size_t{4} * limits.max_live)),
      slot_owners_(static_cast<SlotOwner*>(std::calloc(counter::kMaxSlots, sizeof(SlotOwner))),
                   std::free) {
  // Like the queues above, 4 MiB that do not fit are for who opens the Context to report.
  if (slot_owners_ == nullptr) throw std::bad_alloc();
  cookies_.emplace_back();  // cookie 0 is none
}

Engine::~Engine() = default;

// ---- any thread
// -----------------------------------------------------------------------------------------------------

Status Engine::submit(Command&& command) {
  if (!submissions_.try_push(std::move(command))) {
    return Status(
        StatusCode::kBusy,
        "the submission queue is full (ContextOptions::max_submissions): retry after progress");
  }
  waker_->wake();
  return Status::ok();
}

bool Engine::from_control(Command&& command) {
  if (!control_.try_push(std::move(command))) return false;
  waker_->wake();
  return true;
}

void Engine::queue_cancel(const std::shared_ptr<GrantState>& grant) {
  if (grant->cancel_queued.exchange(true, std::memory_order_acq_rel)) return;
  const bool queued = cancels_.try_push(Command(CancelGrant{grant}));
  BATON_ASSERT(queued, "the reserved lane has room for one cancel of each live request");
  waker_->wake();
}

void Engine::queue_cancel(const std::shared_ptr<TransferState>& transfer) {
  if (transfer->cancel_queued.exchange(true, std::memory_order_acq_rel)) return;
  const bool queued = cancels_.try_push(Command(CancelTransfer{transfer}));
  BATON_ASSERT(queued, "the reserved lane has room for one cancel of each live request");
  waker_->wake();
}

// ---- data thread
// ----------------------------------------------------------------------------------------------------

// Asked after prepare_sleep: it looks again at all that a wake-up announces, since a wake() that
// came while the loop was awake, behind pump()'s look, was none.
bool Engine::has_work() const {
  if (submissions_.size_hint() + control_.size_hint() + cancels_.size_hint() > 0) return true;
  for (const auto& [peer, link] : links_) {
    if (open_paths(*link) == 0) continue;
    if (link->more_ready) return true;
    for (const auto& transfer : link->transfers) {
      if (may_stage(*transfer)) return true;
    }
    for (const PullState* pull : link->pulls) {
      // Later it is its Path's progress that makes a turn useful.
      if (!pull->started && may_read(*pull)) return true;
    }
  }
  return false;
}

// What held a push back in the last pump() does so no more.
bool Engine::may_stage(const TransferState& transfer) const {
  const bool is_push = transfer.kind == TransferKind::kPush;
  if (!is_push && transfer.kind != TransferKind::kReadGrant) return false;
  if (!transfer.life.is_active()) return false;
  // In the middle of a layer it is not the caller whom it waits for.
  if (transfer.chunk_head == transfer.chunk_tail || transfer.cursor_open) return false;
  if (is_push && !transfer.started) return output_->lease_basis_ns(transfer.peer) != 0;
  const Chunk& chunk = transfer.chunks[transfer.chunk_head % TransferState::kMaxChunks];
  if (chunk.word == nullptr || chunk.word->value() > chunk.base + transfer.ticked_layer) {
    return true;
  }
  return chunk.word->is_polled() && !has_word_timer_;
}

uint32_t Engine::turn(int64_t now_ns) {
  next_timer_ns_ = INT64_MAX;
  has_word_timer_ = false;
  uint32_t done = drain(now_ns);
  for (auto& [peer, link] : links_) done += pump(*link, now_ns);
  return done;
}

uint32_t Engine::after_rails(int64_t now_ns) {
  for (auto& [peer, link] : links_) {
    look_after_paths(*link, now_ns);
    settle_grants(*link, now_ns);
    settle_transfers(*link, now_ns);
  }
  unlink_down_peers();
  return std::exchange(ready_layers_, 0u);
}

uint32_t Engine::drain(int64_t now_ns) {
  uint32_t done = 0;
  // All cancels of this moment; the reserved lane is sized for that.
  while (cancels_.try_pop().has_value()) ++done;
  for (base::BoundedQueue<Command>* queue : {&control_, &submissions_}) {
    for (uint32_t i = 0; i < kCommandsPerTurn; ++i) {
      std::optional<Command> command = queue->try_pop();
      if (!command.has_value()) break;
      execute(*command, now_ns);
      ++done;
    }
  }
  return done;
}

void Engine::execute(Command& command, int64_t now_ns) {
  std::visit(
      Overloaded{
          [](std::monostate) {}, [&](OpenGrant& open) { open_grant(open.grant, now_ns); },
          [&](OpenGrants& open) {
            for (const auto& grant : open.grants) open_grant(grant, now_ns);
          },
          [&](OpenTransfer& open) { open_transfer(open.transfer, now_ns); },
          [&](AddChunk& add) {
            TransferState& transfer = *add.transfer;
            transfer.chunks[transfer.chunk_tail++ % TransferState::kMaxChunks] =
                std::move(add.chunk);
          },
          [&](SealTransfer& seal) { seal.transfer->sealed = true; },
          [&](RunTask& run) { run.task(); },
          // The end begins when this turn's settling sees the state; the entry is the wake-up.
          [](CancelGrant&) {}, [](CancelTransfer&) {},
          [&](PeerUp& up) {
            auto link = std::make_unique<Link>();
            link->peer = up.peer;
            link->unit_bytes = up.unit_bytes;
            link->meters = up.meters != nullptr ? up.meters : std::make_shared<base::PeerMeters>();
            for (uint32_t i = 0; i < link->paths.size(); ++i) {
              link->paths[i].link = link.get();
              link->paths[i].ordinal = i;
            }
            links_[up.peer] = std::move(link);
          },
          [&](PeerDown& down) {
            Link* link = find_link(down.peer);
            if (link == nullptr) return;
            link->up = false;
            link->down_why = down.why;
            for (LinkPath& path : link->paths) path.fence_wanted = path.is_there();
          },
          [&](ExpectPath& expect) { expect_path(expect); },
          [&](OpenStreamPath& open) { stream_arrived(open); },
          [&](OpenAddressedPath& open) {
            LinkPath* path = plan_path(open.peer, open.plan, open.asked);
            if (path == nullptr) return;
            // What is only asked for carries nothing yet.
            if (open.asked) {
              open_path(*path, std::move(open));
            } else {
              open_addressed_path(*path, open);
            }
          },
          [&](ConnectPath& connect) {
            Link* link = find_link(connect.peer);
            LinkPath* path = link == nullptr ? nullptr : path_with(*link, connect.epoch);
            if (path == nullptr || path->opening == nullptr || path->fence_wanted) return;
            open_path(*path, std::move(connect));
          },
          [&](AbandonPath& abandon) {
            Link* link = find_link(abandon.peer);
            LinkPath* path = link == nullptr ? nullptr : path_with(*link, abandon.epoch);
            if (path != nullptr) abandon_path(*path, abandon.failed_stream);
          },
          [&](PeerMessage& arrived) {
            Link* link = find_link(arrived.peer);
            if (link != nullptr && link->up) message_arrived(*link, *arrived.message, now_ns);
          }},
      command);
}

Engine::Link* Engine::find_link(PeerId peer) {
  const auto found = links_.find(peer);
  return found == links_.end() ? nullptr : found->second.get();
}

void Engine::send_or_drop(Link& link, const wire::Message& message) {
  if (!link.up) return;
  Status sent = output_->send(link.peer, message);
  if (sent.is_ok()) return;
  // A control connection that does not take messages cannot carry a hand-off to its end.
  output_->drop_peer(link.peer, sent);
}

void Engine::want_timer(int64_t at_ns) { next_timer_ns_ = std::min(next_timer_ns_, at_ns); }

void Engine::message_arrived(Link& link, wire::Message& message, int64_t now_ns) {
  std::visit(Overloaded{[&](wire::GrantOffer& offer) {
                          output_->offer_arrived(link.peer, std::move(offer));
                        },
                        [&](wire::Cancel& cancel) { cancel_arrived(link, cancel, now_ns); },
                        [&](wire::Quiesced& quiesced) { quiesced_arrived(link, quiesced, now_ns); },
                        [&](wire::GrantEnd& end) { end_arrived(link, end); },
                        [&](wire::GrantEndAck& ack) { link.ended.erase(ack.grant); },
                        [&](wire::Fence& fence) { fence_arrived(link, fence); },
                        [&](wire::Fenced& fenced) { fenced_arrived(link, fenced); },
                        [&](wire::Settle& settle) { settle_arrived(link, settle, now_ns); },
                        [&](wire::Credits& credits) { credits_arrived(link, credits); },
                        [&](wire::ReadStart& start) { read_start_arrived(link, start); },
                        [&](wire::ReadDone& done) { read_done_arrived(link, done); },
                        [&](wire::Notify& notify) {
                          Event event;
                          event.kind = EventKind::kMessage;
                          event.peer = link.peer;
                          event.tag_number = notify.tag;
                          event.message = std::move(notify.bytes);
                          output_->emit(std::move(event));
                        },
                        [](auto&) {}},
             message);
}

void Engine::unlink_down_peers() {
  for (auto it = links_.begin(); it != links_.end();) {
    Link& link = *it->second;
    const bool gone = !link.up && !has_path(link) && link.grants.empty() && link.transfers.empty();
    it = gone ? links_.erase(it) : std::next(it);
  }
}

bool Engine::shut_down(int64_t now_ns) {
  for (auto& [peer, link] : links_) {
    if (link->up) {
      link->up = false;
      link->down_why = Status(StatusCode::kCancelled, "the local Context closes");
    }
    for (LinkPath& path : link->paths) path.fence_wanted = path.is_there();
  }
  drain(now_ns);
  after_rails(now_ns);
  return links_.empty();
}

}  // namespace baton::handoff
