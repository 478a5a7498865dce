// One rank of a job that mpirun started: `baton_mpi_rank CASE`. MPI carries addresses and nothing
// else; KV goes by Baton. Says "RANK r OK" when all of its checks held; otherwise what did not, and
// ends with status 1.
//
//   ring       each rank sends to the next and receives from the one before, at the same time
//   fan_in     ranks 1, 2, 3 send their heads to rank 0, which holds them all
//   writer_exits, writer_killed       as fan_in, and rank 1 goes in the middle
//   receiver_exits, receiver_killed   as fan_in, and rank 0 goes in the middle
//   group, group_writer_killed        the same by one group of Grants: when rank 1 goes, the Grants
//   of
//                                     the others are cancelled
#include <mpi.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "tests/mpi/rank_cache.h"

namespace baton_test {
namespace {

using baton::StatusCode;

constexpr uint32_t kWaitMs = 60'000;
constexpr int64_t kSoonMs = 30'000;  // a rank that went is noticed at once; this only bounds it
constexpr size_t kAddressBytes = 256;
constexpr HeadSlice kAllHeads{0, RankCache::kHeadsTotal};

int rank = 0;
int ranks = 0;

// Without MPI_Finalize: after a rank went it would wait for that one.
[[noreturn]] void leave(int status) {
  std::fflush(nullptr);
  ::_exit(status);
}

void check(bool holds, const std::string& what) {
  if (holds) return;
  std::printf("RANK %d: %s\n", rank, what.c_str());
  leave(1);
}

void check_same(const std::string& difference, const char* what) {
  check(difference.empty(), std::string(what) + ": " + difference);
}

template <typename T>
T take(baton::Result<T> result, const std::string& what) {
  check(result.is_ok(), what + ": " + result.status().to_string());
  return std::move(result).value();
}

void check_ok(const baton::Status& status, const std::string& what) {
  check(status.is_ok(), what + ": " + status.to_string());
}

void check_code(const baton::Status& status, StatusCode code, const std::string& what) {
  check(status.code() == code, what + ": " + status.to_string());
}

uint64_t seed_of(int writer) { return 100 + static_cast<uint64_t>(writer); }

baton::Context open_context() {
  baton::ContextOptions options;
  options.name = "rank-" + std::to_string(rank);
  options.log_level = baton::LogLevel::kError;
  return take(baton::Context::create(options), "Context::create");
}

std::vector<std::string> exchange_addresses(const baton::Context& context) {
  std::array<char, kAddressBytes> own{};
  std::strncpy(own.data(), context.address().c_str(), own.size() - 1);
  std::vector<char> all(kAddressBytes * static_cast<size_t>(ranks));
  MPI_Allgather(own.data(), kAddressBytes, MPI_CHAR, all.data(), kAddressBytes, MPI_CHAR,
                MPI_COMM_WORLD);
  std::vector<std::string> addresses;
  for (int i = 0; i < ranks; ++i) {
    addresses.emplace_back(all.data() + static_cast<size_t>(i) * kAddressBytes);
  }
  return addresses;
}

baton::Grant grant_to(baton::Context& context, baton::PeerId peer, const RankCache& target,
                      int writer) {
  baton::GrantRequest request;
  request.peer = peer;
  request.cache = target.id();
  request.source_cache = "source";
  request.tag = "to " + std::to_string(writer);
  request.tokens = RankCache::kTokens;
  request.block_lists = {target.blocks()};
  return take(context.grant(request), "grant");
}

std::string own_tag() { return "to " + std::to_string(rank); }

baton::Transfer push_from(baton::Context& context, const RankCache& source,
                          const std::string& tag) {
  const auto offer = take(context.wait_offer(tag, kWaitMs), "wait_offer");
  baton::PushRequest push;
  push.grant = offer.id;
  push.cache = source.id();
  push.block_lists = {source.blocks()};
  return take(context.push(push), "push");
}

void ring() {
  auto context = open_context();
  RankCache source(context, "source", kAllHeads);
  RankCache target(context, "target", kAllHeads);
  source.fill(seed_of(rank));
  const auto addresses = exchange_addresses(context);
  // Two ranks dial each other at the same time.
  const int before = (rank + ranks - 1) % ranks;
  const auto peer =
      take(context.connect(addresses[static_cast<size_t>(before)], kWaitMs), "connect");
  auto grant = grant_to(context, peer, target, before);
  auto transfer = push_from(context, source, own_tag());
  check_ok(transfer.seal(), "seal");
  check_ok(grant.wait(kWaitMs), "Grant::wait");
  check_ok(transfer.wait(kWaitMs), "Transfer::wait");
  check_same(target.check(seed_of(before), kAllHeads, RankCache::kLayers), "target");
  check_same(target.check_rest(), "rest of the target");
  // A Context that closed early would be a lost peer of one that still waits.
  MPI_Barrier(MPI_COMM_WORLD);
}

enum class Fate { kStays, kExits, kIsKilled };

[[noreturn]] void go(Fate fate) {
  std::fflush(nullptr);
  if (fate == Fate::kIsKilled) ::raise(SIGKILL);
  ::_exit(0);
}

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// A word from one rank to another: "the middle has come".
void tell(int to) {
  int word = 1;
  MPI_Send(&word, 1, MPI_INT, to, 0, MPI_COMM_WORLD);
}
void hear(int from) {
  int word = 0;
  MPI_Recv(&word, 1, MPI_INT, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

HeadSlice slice_of(int writer) { return {static_cast<uint32_t>(writer - 1), 1}; }

// Rank 0. Of a writer that goes, two of the layers had come.
void receive_all(Fate writer_fate, Fate own_fate) {
  auto context = open_context();
  RankCache target(context, "target", kAllHeads);
  const auto addresses = exchange_addresses(context);
  std::map<int, baton::Grant> grants;
  for (int writer = 1; writer < ranks; ++writer) {
    const auto peer =
        take(context.connect(addresses[static_cast<size_t>(writer)], kWaitMs), "connect");
    grants.emplace(writer, grant_to(context, peer, target, writer));
  }
  for (auto& [writer, grant] : grants) check_ok(grant.gate(1).wait(kWaitMs), "second layer");
  if (own_fate != Fate::kStays) go(own_fate);
  const int64_t start = now_ms();
  for (int writer = 1; writer < ranks; ++writer) tell(writer);
  for (auto& [writer, grant] : grants) {
    const bool is_gone = writer == 1 && writer_fate != Fate::kStays;
    const auto end = grant.wait(kWaitMs);
    check_code(end, is_gone ? StatusCode::kPeerLost : StatusCode::kOk,
               "Grant of rank " + std::to_string(writer));
    check_same(target.check(seed_of(writer), slice_of(writer), is_gone ? 2 : RankCache::kLayers),
               "heads of one rank");
    if (is_gone) {
      check(now_ms() - start < kSoonMs, "told late");
      check_code(grant.all().poll(), StatusCode::kPeerLost, "Gate of a rank that went");
      std::printf("RANK 0 told of rank %d after %lld ms: %s\n", writer,
                  static_cast<long long>(now_ms() - start), end.to_string().c_str());
    }
  }
  check_same(target.check_rest(), "rest of the target");
  // Verdicts must leave before the Context does.
  for (int writer = 1; writer < ranks; ++writer) {
    if (writer != 1 || writer_fate == Fate::kStays) hear(writer);
  }
}

void send_slice(Fate own_fate, Fate receiver_fate) {
  auto context = open_context();
  RankCache source(context, "source", slice_of(rank));
  source.fill(seed_of(rank));
  exchange_addresses(context);
  auto transfer = push_from(context, source, own_tag());
  auto word = take(context.create_progress_word(), "create_progress_word");
  check_ok(transfer.submit_chunk({RankCache::kTokens, &word, 0}), "submit_chunk");
  check_ok(word.advance_to(2), "advance_to");
  if (receiver_fate != Fate::kStays) {
    // It goes once all second layers have come; the others never tick here.
    const auto end = transfer.wait(kWaitMs);
    check_code(end, StatusCode::kInDoubt, "Transfer to a rank that went");
    std::printf("RANK %d told of rank 0: %s\n", rank, end.to_string().c_str());
    return;
  }
  hear(0);
  if (own_fate != Fate::kStays) go(own_fate);
  check_ok(transfer.seal(), "seal");
  check_ok(transfer.wait(kWaitMs), "Transfer::wait");
  tell(0);
}

void fan_in(Fate writer_fate, Fate receiver_fate) {
  check(ranks == 4, "this case has 4 ranks");
  if (rank == 0) {
    receive_all(writer_fate, receiver_fate);
  } else {
    send_slice(rank == 1 ? writer_fate : Fate::kStays, receiver_fate);
  }
}

// ---- a group of Grants

constexpr const char* kGroupTag = "group";

void receive_group(Fate writer_fate) {
  auto context = open_context();
  RankCache target(context, "target", kAllHeads);
  const auto addresses = exchange_addresses(context);
  baton::GrantGroupRequest request;
  request.cache = target.id();
  request.tag = kGroupTag;
  request.tokens = RankCache::kTokens;
  request.block_lists = {target.blocks()};
  for (int writer = 1; writer < ranks; ++writer) {
    const auto peer =
        take(context.connect(addresses[static_cast<size_t>(writer)], kWaitMs), "connect");
    request.writers.push_back({peer, "source"});
  }
  auto group = take(context.grant_group(request), "grant_group");
  check_ok(group.gate(1).wait(kWaitMs), "second layer");
  const int64_t start = now_ms();
  for (int writer = 1; writer < ranks; ++writer) tell(writer);
  const bool fails = writer_fate != Fate::kStays;
  const auto end = group.wait(kWaitMs);
  check_code(end, fails ? StatusCode::kPeerLost : StatusCode::kOk, "the group");
  check(now_ms() - start < kSoonMs || !fails, "told late");
  for (int writer = 1; writer < ranks; ++writer) {
    check_same(target.check(seed_of(writer), slice_of(writer), fails ? 2 : RankCache::kLayers),
               "heads of one rank");
    const auto part = group.grant(static_cast<uint32_t>(writer - 1))->status();
    const auto code = writer == 1 ? StatusCode::kPeerLost : StatusCode::kCancelled;
    check_code(part, fails ? code : StatusCode::kOk, "Grant of rank " + std::to_string(writer));
  }
  check_code(group.gate(RankCache::kLayers - 1).poll(), end.code(), "last layer");
  check_same(target.check_rest(), "rest of the target");
  for (int writer = 1; writer < ranks; ++writer) {
    if (writer != 1 || !fails) hear(writer);
  }
}

void send_to_group(Fate writer_fate) {
  auto context = open_context();
  RankCache source(context, "source", slice_of(rank));
  source.fill(seed_of(rank));
  exchange_addresses(context);
  auto transfer = push_from(context, source, kGroupTag);
  auto word = take(context.create_progress_word(), "create_progress_word");
  check_ok(transfer.submit_chunk({RankCache::kTokens, &word, 0}), "submit_chunk");
  check_ok(word.advance_to(2), "advance_to");
  hear(0);
  if (rank == 1 && writer_fate != Fate::kStays) go(writer_fate);
  // Of a group that fails nobody seals: the cancel must end it.
  if (writer_fate == Fate::kStays) check_ok(transfer.seal(), "seal");
  check_code(transfer.wait(kWaitMs),
             writer_fate == Fate::kStays ? StatusCode::kOk : StatusCode::kCancelled, "Transfer");
  tell(0);
}

void by_group(Fate writer_fate) {
  check(ranks == 4, "this case has 4 ranks");
  if (rank == 0) {
    receive_group(writer_fate);
  } else {
    send_to_group(writer_fate);
  }
}

void run_case(const std::string& name) {
  if (name == "ring") {
    ring();
  } else if (name == "fan_in") {
    fan_in(Fate::kStays, Fate::kStays);
  } else if (name == "group") {
    by_group(Fate::kStays);
  } else if (name == "group_writer_killed") {
    by_group(Fate::kIsKilled);
  } else if (name == "writer_exits") {
    fan_in(Fate::kExits, Fate::kStays);
  } else if (name == "writer_killed") {
    fan_in(Fate::kIsKilled, Fate::kStays);
  } else if (name == "receiver_exits") {
    fan_in(Fate::kStays, Fate::kExits);
  } else if (name == "receiver_killed") {
    fan_in(Fate::kStays, Fate::kIsKilled);
  } else {
    check(false, "no such case: " + name);
  }
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &baton_test::rank);
  MPI_Comm_size(MPI_COMM_WORLD, &baton_test::ranks);
  const std::string name = argc > 1 ? argv[1] : "";
  baton_test::run_case(name);
  std::printf("RANK %d OK\n", baton_test::rank);
  if (name == "ring" || name == "fan_in" || name == "group") {
    MPI_Finalize();
    return 0;
  }
  baton_test::leave(0);
}
