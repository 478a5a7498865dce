#include "tests/conformance/connection.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <ostream>

namespace baton_conformance {

std::ostream& operator<<(std::ostream& out, const Fixture& fixture) { return out << fixture.name; }

bool make_stream_pair(StreamKind kind, int fds[2]) {
  if (kind == StreamKind::kUnix) {
    return ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0;
  }
  sockaddr_storage storage{};
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  socklen_t length = 0;
  if (kind == StreamKind::kTcpV4) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_family = AF_INET;
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    length = sizeof *v4;
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_addr = in6addr_loopback;
    length = sizeof *v6;
  }
  const int listener = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return false;
  fds[0] = fds[1] = -1;
  if (::bind(listener, address, length) == 0 && ::listen(listener, 1) == 0 &&
      ::getsockname(listener, address, &length) == 0) {
    fds[0] = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fds[0] >= 0 && ::connect(fds[0], address, length) == 0) {
      fds[1] = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
  }
  const int error = errno;
  ::close(listener);
  if (fds[1] < 0 && fds[0] >= 0) ::close(fds[0]);
  errno = error;
  return fds[1] >= 0;
}

Region& End::add_region(size_t length_bytes) {
  Region& region = host.add_region(length_bytes);
  baton_region_key key{};
  char error[BATON_ERROR_BYTES] = {};
  EXPECT_EQ(plugin->region_register(rail, region.bytes().data(), length_bytes,
                                    100 + host.num_regions(), &region.handle, &key, error),
            BATON_RC_OK)
      << error;
  region.key = key.key;
  region.base = key.base;
  return region;
}

baton_post End::make_post(baton_post_kind kind, const baton_source* sources, uint32_t count,
                          const Region& target, uint64_t offset) {
  baton_post post{};
  post.kind = kind;
  post.num_sources = count;
  post.sources = sources;
  post.grant = 1;
  post.target_key = target.key;
  post.target_address = target.base + offset;
  for (uint32_t i = 0; i < count; ++i) post.length_bytes += sources[i].length_bytes;
  return post;
}

baton_rc End::post(baton_post* posts, uint32_t count, uint32_t* accepted, size_t path) {
  PathLog& record = log(path);
  const size_t first = record.ops.size();
  for (uint32_t i = 0; i < count; ++i) posts[i].op = first + i;
  record.ops.resize(first + count, OpState::kPosted);
  host.enter(0, false);
  baton_rc rc = BATON_RC_OK;
  {
    const PluginScope scope;
    rc = plugin->post(paths[path].path, posts, count, accepted);
  }
  host.leave();
  EXPECT_LE(*accepted, count);
  for (size_t i = first + *accepted; i < first + count; ++i) {
    EXPECT_EQ(record.ops[i], OpState::kPosted) << "a post was reported that was not accepted";
  }
  record.ops.resize(first + *accepted);
  return rc;
}

uint64_t End::write(const Region& target, uint64_t offset, std::byte* source, uint32_t length_bytes,
                    int64_t immediate, uint64_t grant, size_t path) {
  const baton_source range{source, nullptr, length_bytes, 0};
  baton_post request = make_post(BATON_POST_WRITE, &range, 1, target, offset);
  request.grant = grant;
  request.has_immediate = immediate >= 0 ? 1 : 0;
  if (immediate >= 0) request.immediate = static_cast<uint32_t>(immediate);
  uint32_t accepted = 0;
  EXPECT_EQ(post(&request, 1, &accepted, path), BATON_RC_OK);
  EXPECT_EQ(accepted, 1u);
  return request.op;
}

uint64_t End::read(const Region& target, uint64_t offset, std::byte* memory, uint32_t length_bytes,
                   uint64_t grant, size_t path) {
  const baton_source range{memory, nullptr, length_bytes, 0};
  baton_post request = make_post(BATON_POST_READ, &range, 1, target, offset);
  request.grant = grant;
  uint32_t accepted = 0;
  EXPECT_EQ(post(&request, 1, &accepted, path), BATON_RC_OK);
  EXPECT_EQ(accepted, 1u);
  return request.op;
}

uint64_t End::signal(uint32_t immediate, uint64_t grant, size_t path) {
  baton_post request{};
  request.kind = BATON_POST_WRITE;
  request.grant = grant;
  request.has_immediate = 1;
  request.immediate = immediate;
  uint32_t accepted = 0;
  EXPECT_EQ(post(&request, 1, &accepted, path), BATON_RC_OK);
  EXPECT_EQ(accepted, 1u);
  return request.op;
}

baton_rc End::try_flush(size_t path) {
  PathLog& record = log(path);
  const uint64_t op = record.ops.size();
  record.ops.push_back(OpState::kPosted);
  host.enter(0, false);
  baton_rc rc = BATON_RC_OK;
  {
    const PluginScope scope;
    rc = plugin->flush(paths[path].path, 0, op);
  }
  host.leave();
  if (rc != BATON_RC_OK) record.ops.pop_back();
  return rc;
}

uint64_t End::flush(size_t path) {
  EXPECT_EQ(try_flush(path), BATON_RC_OK);
  return log(path).ops.size() - 1;
}

void End::fence(size_t path) {
  host.enter(0, true);
  plugin->fence(paths[path].path);
  host.leave();
}

uint32_t End::progress(uint64_t budget_bytes) {
  host.enter(budget_bytes, true);
  uint32_t things = 0;
  {
    const PluginScope scope;
    things = plugin->progress(rail, budget_bytes);
  }
  host.leave();
  return things;
}

void End::close() {
  if (rail == nullptr) return;
  for (size_t i = 0; i < paths.size(); ++i) {
    fence(i);
    for (int round = 0; round < 1000 && !log(i).fenced; ++round) progress();
    EXPECT_TRUE(log(i).fenced);
    plugin->path_close(paths[i].path);
  }
  paths.clear();
  for (size_t i = 0; i < host.num_regions(); ++i) {
    plugin->region_unregister(rail, host.region(i).handle);
  }
  plugin->rail_close(rail);
  rail = nullptr;
}

Connection::Connection(const Fixture& fixture) : source_(fixture.load()), stream_(fixture.stream) {
  if (source_.plugin == nullptr) {
    skip_reason_ = "the plug-in could not be loaded";
    return;
  }
  if (stream_ == StreamKind::kNone) {
    fabric_ = source_.fabric_create(&fixture.plan);
    if (fabric_ == nullptr) skip_reason_ = "the fault plan contradicts itself";
  } else {
    int fds[2];
    if (make_stream_pair(stream_, fds)) {
      ::close(fds[0]);
      ::close(fds[1]);
    } else {
      skip_reason_ = std::string("no such socket here: ") + std::strerror(errno);
    }
  }
  if (!usable()) return;
  open_rail(&a);
  open_rail(&b);
  capabilities.struct_size = sizeof capabilities;
  a.plugin->capabilities(a.rail, &capabilities);
  open_path();
}

Connection::~Connection() {
  a.close();
  b.close();
  if (fabric_ != nullptr) source_.fabric_destroy(fabric_);
}

void Connection::open_rail(End* end) {
  end->plugin = source_.plugin;
  baton_rail_options options{};
  options.struct_size = sizeof options;
  options.in_process = fabric_;
  char error[BATON_ERROR_BYTES] = {};
  ASSERT_EQ(end->plugin->rail_open(end->host.table(), &options, &end->rail, error), BATON_RC_OK)
      << error;
}

void Connection::open_path() {
  int fds[2] = {-1, -1};
  if (stream_ != StreamKind::kNone) {
    ASSERT_TRUE(make_stream_pair(stream_, fds));
  }
  End* ends[2] = {&a, &b};
  uint8_t addresses[2][BATON_MAX_ADDRESS_BYTES];
  uint32_t lengths[2] = {0, 0};
  char error[BATON_ERROR_BYTES] = {};
  for (int i = 0; i < 2; ++i) {
    End::OpenPath opened;
    opened.cookie = ends[i]->host.add_path();
    baton_path_options options{};
    options.struct_size = sizeof options;
    options.cookie = opened.cookie;
    options.epoch = next_epoch_++;
    options.stream_fd = fds[i];
    ASSERT_EQ(ends[i]->plugin->path_open(ends[i]->rail, &options, &opened.path, error), BATON_RC_OK)
        << error;
    ends[i]->paths.push_back(opened);
    ASSERT_EQ(ends[i]->plugin->path_address(opened.path, addresses[i], &lengths[i]), BATON_RC_OK);
  }
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(ends[i]->plugin->path_connect(ends[i]->paths.back().path, addresses[1 - i],
                                            lengths[1 - i], error),
              BATON_RC_OK)
        << error;
  }
}

bool Connection::drive(const std::function<bool()>& done, uint64_t budget_bytes) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done()) {
    const uint32_t things = a.progress(budget_bytes) + b.progress(budget_bytes);
    clock.now_ns += 100'000;
    if (things > 0) continue;
    if (std::chrono::steady_clock::now() > limit) return false;
    if (a.plugin->arm(a.rail) != 0 || b.plugin->arm(b.rail) != 0) continue;
    pollfd waits[2] = {{a.plugin->wait_fd(a.rail), POLLIN, 0},
                       {b.plugin->wait_fd(b.rail), POLLIN, 0}};
    // Without a descriptor time moves by itself. A wake-up that never comes costs the poll's whole
    // time-out, once: the test then fails by the limit above rather than by luck.
    if (waits[0].fd >= 0 && waits[1].fd >= 0 && !done()) ::poll(waits, 2, 20'000);
  }
  return true;
}

void Connection::drive_rounds(int rounds, uint64_t budget_bytes, End* only) {
  for (int round = 0; round < rounds; ++round) {
    if (only != &b) a.progress(budget_bytes);
    if (only != &a) b.progress(budget_bytes);
    clock.now_ns += 100'000;
  }
}

void fill_pattern(std::span<std::byte> bytes, uint64_t seed) {
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (std::byte& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<std::byte>(state >> 56);
  }
}

void expect_equal(std::span<const std::byte> actual, std::span<const std::byte> expected,
                  const char* what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  if (std::memcmp(actual.data(), expected.data(), actual.size()) == 0) return;
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(std::to_integer<int>(actual[i]), std::to_integer<int>(expected[i]))
        << what << ", byte " << i << " of " << actual.size();
  }
}

void expect_all(std::span<const std::byte> bytes, std::byte value, const char* what) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    ASSERT_EQ(std::to_integer<int>(bytes[i]), std::to_integer<int>(value))
        << what << ", byte " << i << " of " << bytes.size();
  }
}

}  // namespace baton_conformance
