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

baton::ReadGrantRequest read_request(baton::PeerId peer, baton::CacheId cache, uint32_t deadline_ms,
                                     const std::string& tag) {
  baton::ReadGrantRequest request;
  request.peer = peer;
  request.cache = cache;
  request.target_cache = "kv";
  request.tag = tag;
  request.tokens = kTokens;
  request.block_lists = {blocks(1)};
  request.deadline_ms = deadline_ms;
  return request;
}

baton::Pull start_pull(baton::Context& context, Pool& target, const std::string& tag) {
  const auto offer = require(context.wait_offer(tag, 20000), "wait_offer");
  return require(context.pull({offer.id, target.cache(), {blocks(2)}, 0}), "pull");
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

// Waits for it, and says "ENDED state", then "CODE code"; "GOES ON" when it does not end.
template <typename End>
void say_end(const End& end) {
  end.wait(30000).ignore();
  if (!baton::is_terminal(end.state())) {
    say("GOES ON");
    return;
  }
  say("ENDED " + std::string(baton::state_name(end.state())));
  say("CODE " + std::string(baton::status_code_name(end.status().code())));
}

// process_options(), and what the arguments after the role say otherwise.
baton::ContextOptions child_options(const std::string& name, const Arguments& arguments) {
  baton::ContextOptions options = process_options(name);
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('=');
    const std::string key = argument.substr(0, equals);
    const std::string value = argument.substr(equals + 1);
    if (key == "--name") options.name = value;
    if (key == "--bind") options.bind_host = value;
    if (key == "--secret") options.secret_file = value;
    if (key == "--heartbeat-ms") options.heartbeat_interval_ms = to_number(value);
    if (key == "--paths") options.rails[0].paths = to_number(value);
    if (key == "--dead-after-ms") options.peer_dead_after_ms = to_number(value);
  }
  return options;
}

// The sending child: its Context, its pool, and its last hand-off.
struct Sender {
  explicit Sender(const Arguments& arguments)
      : context(
            require(baton::Context::create(child_options("child-prefill", arguments)), "create")),
        source(big_shape()) {
    source.memory().fill_pattern(kOriginal);
    source.publish(context, "kv");
  }

  // `words`: the layers that are final, and the tag.
  void push(std::istringstream& words) {
    uint64_t layers = 0;
    std::string tag = "r";
    words >> layers >> tag;
    end = SourceEnd(start_push(context, source, tag));
    feed("PUSHING", layers);
  }
  void offer(std::istringstream& words) {
    uint32_t deadline_ms = 0;
    uint64_t layers = 0;
    std::string tag = "r";
    uint32_t lease_ms = 0;
    words >> deadline_ms >> layers >> tag >> lease_ms;
    while (context.peers().empty()) require(context.wait_event(20000), "a peer");
    auto request = read_request(context.peers().front(), source.cache(), deadline_ms, tag);
    request.lease_ms = lease_ms;
    end = SourceEnd(require(context.offer_read(request), "offer_read"));
    feed("OFFERED", layers);
  }
  void feed(const std::string& word_said, uint64_t layers) {
    word = require(context.create_progress_word(), "create_progress_word");
    require_ok(end.submit_chunk({kTokens, &word, 0}), "submit_chunk");
    say(word_said);
    word.advance_to(layers).ignore();
  }

  baton::Context context;
  Pool source;
  baton::ProgressWord word;
  SourceEnd end;
};

int run_prefill(const Arguments& arguments) {
  Sender sender(arguments);
  say("ADDRESS " + sender.context.address());
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "push") {
      sender.push(words);
    } else if (command == "offer") {
      sender.offer(words);
    } else if (command == "seal") {
      require_ok(sender.end.seal(), "seal");
      say("SEALED");
    } else if (command == "wait") {
      say_end(sender.end);
    } else if (command == "overwrite") {
      sender.source.memory().fill_pattern(kOverwritten);
      say("OVERWRITTEN");
    } else if (command == "exit") {
      return 0;
    }
  }
  return 0;
}

// The receiving child.
struct Receiver {
  explicit Receiver(const Arguments& arguments)
      : context(
            require(baton::Context::create(child_options("child-decode", arguments)), "create")),
        target(big_shape()) {
    target.publish(context, "kv");
  }

  void connect(std::istringstream& words) {
    std::string address;
    words >> address;
    const auto peer = context.connect(address, 20000);
    say(peer.is_ok() ? "CONNECTED" : "REFUSED " + peer.status().to_string());
  }
  void grant(std::istringstream& words) {
    uint32_t deadline_ms = 0;
    std::string address;
    words >> deadline_ms >> address;
    const auto peer = require(context.connect(address), "connect");
    auto request = grant_request(peer, target.cache(), deadline_ms);
    words >> request.lease_ms >> request.tag;  // 0 and "r" when they are not there
    end = TargetEnd(require(context.grant(request), "grant"));
    say("GRANTED");
    end.gate(0).wait(20000).ignore();
    say("FIRST");
  }
  void pull(std::istringstream& words) {
    std::string address;
    std::string tag = "r";
    words >> address >> tag;
    require(context.connect(address), "connect");
    end = TargetEnd(start_pull(context, target, tag));
    is_pulled = true;
    say("PULLING");
    end.gate(0).wait(20000).ignore();
    say("FIRST");
  }
  void say_foreign_bytes() {
    // Known as well: zero, with which a source fills the rest of an answer that it refuses
    // half-way (the layer is not whole, so it is nobody's).
    say("FOREIGN " + std::to_string(is_pulled ? count_foreign(target, 0) : count_foreign(target)));
    say("CHECKED " + std::to_string(target.memory().size()));
  }
  void compare(std::istringstream& words) {
    uint64_t seed = 0;
    words >> seed;
    const auto difference = compare_bytes(big_expected(seed), target.memory().bytes());
    say(difference.empty() ? "SAME" : "DIFFERENT " + difference);
  }

  baton::Context context;
  Pool target;
  TargetEnd end;
  bool is_pulled = false;
};

int run_decode(const Arguments& arguments) {
  Receiver receiver(arguments);
  say("READY");
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "connect") {
      receiver.connect(words);
    } else if (command == "grant") {
      receiver.grant(words);
    } else if (command == "pull") {
      receiver.pull(words);
    } else if (command == "cancel") {
      receiver.end.cancel("aborted");
    } else if (command == "wait") {
      say_end(receiver.end);
    } else if (command == "foreign") {
      receiver.say_foreign_bytes();
    } else if (command == "poison") {
      receiver.target.memory().poison();
      say("POISONED");
    } else if (command == "compare") {
      receiver.compare(words);
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
