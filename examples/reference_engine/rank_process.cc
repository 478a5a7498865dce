#include "examples/reference_engine/rank_process.h"

#include <fcntl.h>
#include <poll.h>

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "examples/reference_engine/decode_rank.h"
#include "examples/reference_engine/engine_interrupt.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/prefill_rank.h"
#include "examples/reference_engine/rank_group.h"
#include "examples/reference_engine/rank_messages.h"
#include "examples/reference_engine/rank_pipe.h"
#include "examples/reference_engine/rank_team.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr int kWaitSliceMs = 100;
constexpr uint32_t kNoLimitMs = UINT32_MAX;  // until the leader closes the pipe

// What a rank of either side has.
struct RankHome {
  std::unique_ptr<RankGroup> group;
  std::unique_ptr<EngineNode> node;
  std::unique_ptr<KvPool> pool;

  RankHome() = default;
  RankHome(RankHome&&) = default;
  ~RankHome() {
    // The pool goes before the node does.
    if (node) node->close_context();
  }
};

Result<RankHome> settle_in(const EngineOptions& options, Progress& progress) {
  const bool is_prefill = options.side == Side::kPrefill;
  const IndexRange parts = parts_of_rank(options.rank, kTensorParts);
  RankHome home;
  auto node = EngineNode::create(options, progress, parts);
  if (!node.is_ok()) return node.status();
  home.node = std::move(*node);
  const ModelConfig& config = home.node->model().config();
  RankGroupOptions group;
  group.rank = options.rank;
  group.floats = size_t{options.chunk_tokens} * config.hidden;
  group.deadline_ms = meeting_deadline_ms(options);
  group.check = [] {
    return interrupted() ? Status(StatusCode::kCancelled, "interrupted") : Status::ok();
  };
  auto joined = RankGroup::join(options.sums_fd, std::move(group));
  if (!joined.is_ok()) return joined.status();
  home.group = std::move(*joined);
  BATON_RETURN_IF_ERROR(home.node->join_ranks(parts, *home.group));
  auto pool = home.node->make_pool(
      {options.block_tokens, options.pool_blocks, !is_prefill, parts, KvOrder::kHnd});
  if (!pool.is_ok()) return pool.status();
  home.pool = std::make_unique<KvPool>(std::move(*pool));
  const IndexRange held = kv_heads_of(config, parts);
  BATON_RETURN_IF_ERROR(home.node->open_context(
      options.context_options((is_prefill ? "prefill" : "decode") + std::to_string(options.rank)),
      *home.pool, held, is_prefill ? owned_kv_heads_of(config, parts) : held));
  return home;
}

// What a prefill rank was told and has not done.
struct PrefillOrders {
  std::deque<PrefillJob> queue;
  std::set<uint64_t> withdrawn;  // keys
};

// Takes the messages that are there. kPeerLost: no more will come.
Status take_orders(RankPipe& pipe, PrefillOrders& orders) {
  while (true) {
    auto message = pipe.poll();
    if (!message.is_ok()) return message.status();
    if (!*message) return Status::ok();
    if ((*message)->kind == static_cast<uint32_t>(RankMessage::kWithdraw)) {
      orders.withdrawn.insert((*message)->key);
      continue;
    }
    auto request = decode_request((*message)->bytes);
    if (!request.is_ok()) return request.status();
    orders.queue.push_back({(*message)->key, {}, std::move(*request)});
  }
}

// Hands the events that are there to `own`. True: pages may have come back.
bool take_events(baton::Context& context, PrefillRank& own) {
  std::array<baton::Event, 16> events;
  bool has_pages = false;
  while (const size_t count = context.poll_events(events)) {
    for (size_t i = 0; i < count; ++i) has_pages |= own.on_event(events[i]);
  }
  return has_pages;
}

// Computes what the leader says, until it closes the pipe.
Status serve_prefill(RankHome& home, const EngineOptions& options, Progress& progress,
                     RankPipe& pipe) {
  PrefillOrders orders;
  std::deque<PrefillJob>& queue = orders.queue;
  bool lacks_pages = false;
  PrefillRank own(*home.node, *home.pool, options, progress, home.group.get(),
                  [&](const PrefillJob& job) {
                    // The end of the pipe is seen again below.
                    take_orders(pipe, orders).ignore();
                    take_events(home.node->context(), own);
                    return orders.withdrawn.contains(job.key);
                  });
  while (!interrupted()) {
    pollfd entries[] = {{pipe.fd(), POLLIN, 0}, {home.node->context().event_fd(), POLLIN, 0}};
    ::poll(entries, 2, queue.empty() || lacks_pages ? kWaitSliceMs : 0);
    if (take_events(home.node->context(), own)) lacks_pages = false;
    const Status told = take_orders(pipe, orders);
    if (!told.is_ok()) return told.code() == StatusCode::kPeerLost ? Status::ok() : told;
    for (const uint64_t key : orders.withdrawn) own.withdraw(key);
    // A withdrawal comes behind what it is about.
    if (queue.empty()) orders.withdrawn.clear();
    if (!queue.empty() && !lacks_pages) {
      const auto started = own.start(queue.front());
      if (!started.is_ok()) return started.status();
      lacks_pages = !*started;
      if (*started) queue.pop_front();
    }
    for (const PrefillRank::Finished& one : own.take_finished()) {
      BATON_RETURN_IF_ERROR(pipe.send(static_cast<uint32_t>(RankMessage::kRecord), one.key,
                                      encode(one.record), options.deadline_ms));
    }
  }
  return {StatusCode::kCancelled, "interrupted"};
}

Status serve_decode(RankHome& home, const EngineOptions& options, RankPipe& pipe) {
  DecodeRank own(*home.node, *home.pool, options, *home.group, pipe);
  while (true) {
    auto message = pipe.receive(kNoLimitMs);
    if (!message.is_ok()) {
      return message.code() == StatusCode::kPeerLost ? Status::ok() : message.status();
    }
    BATON_RETURN_IF_ERROR(own.handle(*message));
  }
}

}  // namespace

Status run_rank(const EngineOptions& options) {
  const std::string name = std::string(options.side == Side::kPrefill ? "prefill" : "decode") +
                           std::to_string(options.rank);
  Progress progress(name, options.quiet);
  // Nobody who is started from here inherits them.
  ::fcntl(options.sums_fd, F_SETFD, FD_CLOEXEC);
  ::fcntl(options.pipe_fd, F_SETFD, FD_CLOEXEC);
  RankPipe pipe(OwnedFd(options.pipe_fd), "the process that leads the ranks");
  auto home = settle_in(options, progress);
  RankReady ready;
  ready.status = home.status();
  if (home.is_ok()) ready.address = home->node->context().address();
  BATON_RETURN_IF_ERROR(
      pipe.send(static_cast<uint32_t>(RankMessage::kReady), 0, encode(ready), options.deadline_ms));
  // The leader says what is wrong.
  if (!home.is_ok()) return Status::ok();
  return options.side == Side::kPrefill ? serve_prefill(*home, options, progress, pipe)
                                        : serve_decode(*home, options, pipe);
}

}  // namespace baton_engine
