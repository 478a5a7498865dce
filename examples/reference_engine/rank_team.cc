#include "examples/reference_engine/rank_team.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "examples/reference_engine/engine_interrupt.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint32_t kRankStartMs = 120'000;  // it loads the model
constexpr uint32_t kLeaveMs = 2000;

std::string rank_name(Side side, uint32_t rank) {
  return std::string(side == Side::kPrefill ? "prefill" : "decode") + " rank " +
         std::to_string(rank);
}

std::vector<std::string> rank_arguments(Side side, const EngineOptions& options, uint32_t rank,
                                        uint64_t blocks, int memory, int pipe) {
  const uint32_t block_tokens =
      side == Side::kDecode ? options.decode_block_tokens : options.block_tokens;
  std::vector<std::string> arguments = {"rank",
                                        "--rank",
                                        std::to_string(rank),
                                        "--sums-fd",
                                        std::to_string(memory),
                                        "--pipe-fd",
                                        std::to_string(pipe),
                                        "--blocks",
                                        std::to_string(blocks),
                                        "--model",
                                        options.model,
                                        "--kv-dtype",
                                        options.kv_dtype,
                                        "--chunk-tokens",
                                        std::to_string(options.chunk_tokens),
                                        "--block-tokens",
                                        std::to_string(block_tokens),
                                        "--threads",
                                        std::to_string(rank_threads(options.threads)),
                                        "--deadline-ms",
                                        std::to_string(options.deadline_ms),
                                        "--transport",
                                        options.transport,
                                        "--prefill-tp",
                                        std::to_string(options.prefill_tp),
                                        "--decode-tp",
                                        std::to_string(options.decode_tp)};
  if (side == Side::kDecode) arguments.push_back("--of-decode");
  if (side == Side::kPrefill) arguments.insert(arguments.end(), {"--listen", options.listen_host});
  if (!options.secret_file.empty()) {
    arguments.insert(arguments.end(), {"--secret-file", options.secret_file});
  }
  if (options.check_pages) arguments.push_back("--check-pages");
  if (options.allow_unauthenticated) arguments.push_back("--allow-unauthenticated");
  if (options.quiet) arguments.push_back("--quiet");
  if (options.errors_only) arguments.push_back("--errors-only");
  return arguments;
}

}  // namespace

uint32_t rank_threads(uint32_t threads) {
  if (threads != 0) return threads;
  return std::max(1U, std::thread::hardware_concurrency() / kTensorParts);
}

Result<std::unique_ptr<RankTeam>> RankTeam::start(Side side, const EngineOptions& options,
                                                  const ModelConfig& config, uint64_t blocks) {
  std::unique_ptr<RankTeam> team(new RankTeam(options));
  const size_t floats = size_t{options.chunk_tokens} * config.hidden;
  auto memory = RankGroup::create_memory(floats);
  if (!memory.is_ok()) return memory.status();
  RankGroupOptions group;
  group.floats = floats;
  group.deadline_ms = meeting_deadline_ms(options);
  group.check = [raw = team.get()] {
    if (interrupted()) return Status(StatusCode::kCancelled, "interrupted");
    if (raw->while_waiting_) raw->while_waiting_();
    return raw->check();
  };
  auto sums = RankGroup::join(memory->get(), std::move(group));
  if (!sums.is_ok()) return sums.status();
  team->sums_ = std::move(*sums);
  for (uint32_t rank = 1; rank < kTensorParts; ++rank) {
    BATON_RETURN_IF_ERROR(team->start_rank(side, rank, blocks, memory->get()));
  }
  for (uint32_t rank = 1; rank < kTensorParts; ++rank) {
    auto message = team->receive(rank, RankMessage::kReady, kRankStartMs);
    if (!message.is_ok()) return message.status();
    auto ready = decode_ready(message->bytes);
    if (!ready.is_ok()) return ready.status();
    if (!ready->status.is_ok()) return ready->status;
    team->ranks_[rank - 1].address = std::move(ready->address);
  }
  return team;
}

RankTeam::~RankTeam() {
  // Ranks that wait for this one, or for a word of it, leave of their own accord.
  if (sums_) sums_->say_lost(0);
  for (Rank& rank : ranks_) rank.pipe = RankPipe();
  for (Rank& rank : ranks_) rank.child.wait(kLeaveMs);
}

Status RankTeam::start_rank(Side side, uint32_t rank, uint64_t blocks, int memory) {
  auto ends = RankPipe::create_ends();
  if (!ends.is_ok()) return ends.status();
  const int theirs = ends->second.get();
  auto child = EngineChild::start(rank_name(side, rank),
                                  rank_arguments(side, options_, rank, blocks, memory, theirs),
                                  {memory, theirs});
  if (!child.is_ok()) return child.status();
  ranks_.push_back(
      {std::move(*child), RankPipe(std::move(ends->first), rank_name(side, rank)), {}});
  return Status::ok();
}

Status RankTeam::send(uint32_t rank, RankMessage kind, uint64_t key,
                      std::span<const uint8_t> bytes) {
  return explain(rank, ranks_[rank - 1].pipe.send(static_cast<uint32_t>(kind), key, bytes,
                                                  options_.deadline_ms));
}

Status RankTeam::send_all(RankMessage kind, uint64_t key, std::span<const uint8_t> bytes) {
  for (uint32_t rank = 1; rank < end(); ++rank) {
    BATON_RETURN_IF_ERROR(send(rank, kind, key, bytes));
  }
  return Status::ok();
}

Result<RankPipe::Message> RankTeam::receive(uint32_t rank, RankMessage kind, uint32_t timeout_ms) {
  auto message = ranks_[rank - 1].pipe.receive(timeout_ms);
  if (!message.is_ok()) return explain(rank, message.status());
  if (message->kind == static_cast<uint32_t>(kind)) return message;
  return Status(StatusCode::kProtocolError, ranks_[rank - 1].child.name() + ": message " +
                                                std::to_string(message->kind) + " instead of " +
                                                std::to_string(static_cast<uint32_t>(kind)));
}

Result<std::optional<RankPipe::Message>> RankTeam::poll(uint32_t rank) {
  auto message = ranks_[rank - 1].pipe.poll();
  if (!message.is_ok()) return explain(rank, message.status());
  return message;
}

std::vector<int> RankTeam::fds() const {
  std::vector<int> out;
  for (const Rank& rank : ranks_) out.push_back(rank.pipe.fd());
  return out;
}

// Of several that are gone the one that was killed: the others may have ended because of it.
Status RankTeam::check() {
  Status gone;
  for (uint32_t rank = 1; rank < end(); ++rank) {
    EngineChild& child = ranks_[rank - 1].child;
    if (!child.wait(0)) continue;
    sums_->say_lost(rank);
    const std::string how = child.how_it_ended();
    const bool is_killed = how.rfind("killed", 0) == 0;
    if (gone.is_ok() || is_killed)
      gone = Status(StatusCode::kPeerLost, child.name() + " is gone: " + how);
    if (is_killed) break;
  }
  return gone;
}

Status RankTeam::explain(uint32_t rank, const Status& status) {
  if (status.code() != StatusCode::kPeerLost) return status;
  // Its pipe is closed, so its end is near.
  ranks_[rank - 1].child.wait(kLeaveMs);
  const Status gone = check();
  return gone.is_ok() ? status : gone;
}

}  // namespace baton_engine
