#include "tests/integration/process_rig.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>

namespace baton_test {

PoolShape big_shape() {
  PoolShape shape;
  shape.layers = 16;
  shape.heads = 8;
  shape.head_elements = 64;
  shape.num_blocks = 128;
  return shape;
}

std::vector<uint32_t> blocks(uint64_t seed) {
  return pick_blocks(90, big_shape().num_blocks, seed);
}

baton::ContextOptions process_options(const std::string& name) {
  baton::ContextOptions options = quiet_options(name);
  options.log_level = baton::LogLevel::kOff;
  options.heartbeat_interval_ms = 500;
  // So that the deadline, not the heartbeat, ends a frozen peer's hand-off.
  options.peer_dead_after_ms = 20000;
  return options;
}

int64_t since_ms(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               start)
      .count();
}

baton::GrantRequest grant_request(baton::PeerId peer, baton::CacheId cache, uint32_t deadline_ms) {
  baton::GrantRequest request;
  request.peer = peer;
  request.cache = cache;
  request.source_cache = "kv";
  request.tag = "r";
  request.tokens = kTokens;
  request.block_lists = {blocks(2)};
  request.deadline_ms = deadline_ms;
  return request;
}

baton::Transfer start_push(baton::Context& context, Pool& source, const std::string& tag) {
  const auto offer = require(context.wait_offer(tag, 20000), "wait_offer");
  baton::PushRequest push;
  push.grant = offer.id;
  push.cache = source.cache();
  push.block_lists = {blocks(1)};
  return require(context.push(push), "push");
}

std::vector<uint8_t> big_expected(uint64_t seed) {
  // Made once: it is asked for at every verdict.
  static std::map<uint64_t, Pool> sources;
  auto [found, is_new] = sources.try_emplace(seed, big_shape());
  Pool& source = found->second;
  if (is_new) source.memory().fill_pattern(seed);
  // Beside what was granted, poison: not what happens to lie there.
  static Pool blank(big_shape());
  return expected_target(source, blocks(1), blank, blocks(2), kTokens, source.memory().data());
}

uint64_t count_foreign(Pool& target, uint8_t also_known) {
  static const auto expected = big_expected();
  const auto bytes = target.memory().bytes();
  // Most of it is one or the other; sanitizers look at pieces faster than at bytes.
  constexpr size_t kPieceBytes = 4096;
  const std::vector<uint8_t> poison(kPieceBytes, GuardedBuffer::kPoison);
  uint64_t foreign = 0;
  for (size_t begin = 0; begin < expected.size(); begin += kPieceBytes) {
    const size_t end = std::min(expected.size(), begin + kPieceBytes);
    if (std::memcmp(&bytes[begin], &expected[begin], end - begin) == 0 ||
        std::memcmp(&bytes[begin], poison.data(), end - begin) == 0) {
      continue;
    }
    for (size_t i = begin; i < end; ++i) {
      const bool is_known =
          bytes[i] == expected[i] || bytes[i] == GuardedBuffer::kPoison || bytes[i] == also_known;
      foreign += is_known ? 0u : 1u;
    }
  }
  return foreign;
}

namespace {

using Arguments = std::vector<std::string>;

uint32_t to_number(const std::string& text) { return static_cast<uint32_t>(std::stoul(text)); }

void say(const std::string& line) { std::cout << line << std::endl; }

// "ENDED state", and then "CODE code".
void say_end(baton::State state, const baton::Status& status) {
  say("ENDED " + std::string(baton::state_name(state)));
  say("CODE " + std::string(baton::status_code_name(status.code())));
}

// process_options(), and what the arguments after the role say otherwise.
baton::ContextOptions child_options(const std::string& name, const Arguments& arguments) {
  baton::ContextOptions options = process_options(name);
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('=');
    const std::string key = argument.substr(0, equals);
    const std::string value = argument.substr(equals + 1);
    if (key == "--bind") options.bind_host = value;
    if (key == "--secret") options.secret_file = value;
    if (key == "--heartbeat-ms") options.heartbeat_interval_ms = to_number(value);
    if (key == "--paths") options.rails[0].paths = to_number(value);
    if (key == "--dead-after-ms") options.peer_dead_after_ms = to_number(value);
  }
  return options;
}

int run_prefill(const Arguments& arguments) {
  auto context =
      require(baton::Context::create(child_options("child-prefill", arguments)), "create");
  Pool source(big_shape());
  source.memory().fill_pattern(kOriginal);
  source.publish(context, "kv");
  auto word = require(context.create_progress_word(), "create_progress_word");
  baton::Transfer transfer;
  say("ADDRESS " + context.address());
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "push") {
      uint64_t layers = 0;
      std::string tag = "r";
      words >> layers >> tag;
      transfer = start_push(context, source, tag);
      require_ok(transfer.submit_chunk({kTokens, &word, 0}), "submit_chunk");
      say("PUSHING");
      word.advance_to(layers).ignore();
    } else if (command == "seal") {
      require_ok(transfer.seal(), "seal");
      say("SEALED");
    } else if (command == "wait") {
      transfer.wait(30000).ignore();
      say_end(transfer.state(), transfer.status());
    } else if (command == "overwrite") {
      source.memory().fill_pattern(kOverwritten);
      say("OVERWRITTEN");
    } else if (command == "exit") {
      return 0;
    }
  }
  return 0;
}

void say_foreign_bytes(Pool& target) {
  say("FOREIGN " + std::to_string(count_foreign(target)));
  say("CHECKED " + std::to_string(target.memory().size()));
}

int run_decode(const Arguments& arguments) {
  auto context =
      require(baton::Context::create(child_options("child-decode", arguments)), "create");
  Pool target(big_shape());
  target.publish(context, "kv");
  baton::Grant grant;
  std::string line;
  say("READY");
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "connect") {
      std::string address;
      words >> address;
      const auto peer = context.connect(address, 20000);
      say(peer.is_ok() ? "CONNECTED" : "REFUSED " + peer.status().to_string());
    } else if (command == "grant") {
      uint32_t deadline_ms = 0;
      std::string address;
      words >> deadline_ms >> address;
      const auto peer = require(context.connect(address), "connect");
      auto request = grant_request(peer, target.cache(), deadline_ms);
      words >> request.lease_ms >> request.tag;  // 0 and "r" when they are not there
      grant = require(context.grant(request), "grant");
      say("GRANTED");
      grant.gate(0).wait(20000).ignore();
      say("FIRST");
    } else if (command == "wait") {
      grant.wait(30000).ignore();
      say_end(grant.state(), grant.status());
    } else if (command == "foreign") {
      say_foreign_bytes(target);
    } else if (command == "poison") {
      target.memory().poison();
      say("POISONED");
    } else if (command == "compare") {
      uint64_t seed = 0;
      words >> seed;
      const auto difference = compare_bytes(big_expected(seed), target.memory().bytes());
      say(difference.empty() ? "SAME" : "DIFFERENT " + difference);
    } else if (command == "exit") {
      return 0;
    }
  }
  return 0;
}

int run_dial(const std::string& name, const std::string& address) {
  auto context = require(baton::Context::create(process_options(name)), "create");
  std::string line;
  say("READY");
  while (std::getline(std::cin, line)) {
    const auto peer = context.connect(address, 20000);
    say("DIALED " + (peer.is_ok() ? std::string("OK") : peer.status().to_string()));
  }
  return 0;
}

// The limit binds root, too, only without CAP_IPC_LOCK.
void limit_locked_memory(uint64_t bytes) {
  const rlimit limit{bytes, bytes};
  if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
    std::perror("setrlimit(RLIMIT_MEMLOCK)");
    std::abort();
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &header, data) != 0) return;
  data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~static_cast<uint32_t>(CAP_TO_MASK(CAP_IPC_LOCK));
  data[CAP_TO_INDEX(CAP_IPC_LOCK)].permitted &= ~static_cast<uint32_t>(CAP_TO_MASK(CAP_IPC_LOCK));
  if (::syscall(SYS_capset, &header, data) != 0) std::perror("capset");
}

int run_memlock() {
  constexpr uint64_t kLimit = 8u << 20;
  limit_locked_memory(kLimit);
  Pool source(big_shape());
  Pool target(big_shape());
  // By number: sanitizers make mlock() do nothing.
  if (::syscall(SYS_mlock, source.memory().data(), 2 * kLimit) == 0) {
    say("UNLIMITED");
    return 0;
  }
  ContextPair pair({});
  source.memory().fill_pattern(kOriginal);
  source.publish(pair.prefill(), "kv");
  target.publish(pair.decode(), "kv");
  pair.connect();
  const auto expected = big_expected();
  auto grant = require(
      pair.decode().grant(grant_request(pair.prefill_peer(), target.cache(), 60000)), "grant");
  auto transfer = start_push(pair.prefill(), source);
  require_ok(transfer.seal(), "seal");
  require_ok(grant.wait(60000), "Grant::wait");
  require_ok(transfer.wait(60000), "Transfer::wait");
  const std::string difference = compare_bytes(expected, target.memory().bytes());
  say(difference.empty() ? "SAME" : "DIFFERENT " + difference);
  return 0;
}

}  // namespace

std::optional<int> run_child_role(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  const Arguments arguments(argv + std::min(argc, 2), argv + argc);
  if (role == "--role=prefill") return run_prefill(arguments);
  if (role == "--role=decode") return run_decode(arguments);
  if (role == "--role=dial" && argc > 3) return run_dial(argv[2], argv[3]);
  if (role == "--role=memlock") return run_memlock();
  return std::nullopt;
}

}  // namespace baton_test
