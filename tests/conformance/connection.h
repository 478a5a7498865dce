// Two rails with one connected path each (or more), of any plug-in, and what tests do with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "baton/plugin/loopback.h"
#include "baton/plugin/plugin.h"
#include "tests/conformance/test_host.h"

namespace baton_conformance {

enum class StreamKind : uint8_t { kNone, kTcpV4, kTcpV6, kUnix };

// Loads a plug-in for a fixture: linked in, or from its own library.
struct PluginSource {
  const baton_plugin* plugin = nullptr;
  baton_loopback_fabric* (*fabric_create)(const baton_loopback_plan*) = nullptr;
  void (*fabric_destroy)(baton_loopback_fabric*) = nullptr;
};

struct Fixture {
  std::string name;
  PluginSource (*load)();
  StreamKind stream = StreamKind::kNone;
  baton_loopback_plan plan{};  // loopback
};
std::ostream& operator<<(std::ostream& out, const Fixture& fixture);

// Every way in which the suite is run.
std::vector<Fixture> all_fixtures();

// A connected pair of non-blocking sockets; false with errno set when this machine has no such
// thing.
bool make_stream_pair(StreamKind kind, int fds[2]);

// One side: a rail and its first path.
class End {
 public:
  explicit End(TestClock* clock) : host(clock) {}

  TestHost host;
  const baton_plugin* plugin = nullptr;
  baton_rail* rail = nullptr;
  struct OpenPath {
    baton_path* path = nullptr;
    uint64_t cookie = 0;
  };
  std::vector<OpenPath> paths;

  PathLog& log(size_t path = 0) { return host.log(paths[path].cookie); }
  Region& add_region(size_t length_bytes);

  // A post of `length_bytes` at `source`, to offset `offset` of `target`, under grant 1.
  static baton_post make_post(baton_post_kind kind, const baton_source* sources, uint32_t count,
                              const Region& target, uint64_t offset);
  // Gives the posts op numbers, posts them and forgets those that were not accepted.
  baton_rc post(baton_post* posts, uint32_t count, uint32_t* accepted, size_t path = 0);
  // One write or read that must be accepted; returns its op.
  uint64_t write(const Region& target, uint64_t offset, std::byte* source, uint32_t length_bytes,
                 int64_t immediate = -1, uint64_t grant = 1, size_t path = 0);
  uint64_t read(const Region& target, uint64_t offset, std::byte* memory, uint32_t length_bytes,
                uint64_t grant = 1, size_t path = 0);
  // A write of length 0: its immediate and nothing else.
  uint64_t signal(uint32_t immediate, uint64_t grant = 1, size_t path = 0);
  uint64_t flush(size_t path = 0);
  baton_rc try_flush(size_t path = 0);
  void fence(size_t path = 0);
  uint32_t progress(uint64_t budget_bytes = 256u << 10);
  // Fences what is not fenced, closes paths, regions and the rail.
  void close();
};

class Connection {
 public:
  explicit Connection(const Fixture& fixture);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // False: this machine lacks what the fixture needs; skip_reason() says what.
  [[nodiscard]] bool usable() const { return skip_reason_.empty(); }
  [[nodiscard]] const std::string& skip_reason() const { return skip_reason_; }
  [[nodiscard]] bool has(uint32_t capability) const {
    return (capabilities.flags & capability) != 0;
  }

  // Opens one more connected path; its index is the same at both ends.
  void open_path();
  // Drives both ends until `done` or (failing the test) 20 s of real time.
  [[nodiscard]] bool drive(const std::function<bool()>& done, uint64_t budget_bytes = 256u << 10);
  // Drives one end or both for `rounds` rounds.
  void drive_rounds(int rounds, uint64_t budget_bytes = 256u << 10, End* only = nullptr);

  TestClock clock;
  End a{&clock};
  End b{&clock};
  baton_capabilities capabilities{};

 private:
  void open_rail(End* end);
  PluginSource source_;
  StreamKind stream_;
  baton_loopback_fabric* fabric_ = nullptr;
  uint64_t next_epoch_ = 1;
  std::string skip_reason_;
};

// Bytes that depend on the seed and the place.
void fill_pattern(std::span<std::byte> bytes, uint64_t seed);
// Fails the test at the first difference.
void expect_equal(std::span<const std::byte> actual, std::span<const std::byte> expected,
                  const char* what);
void expect_all(std::span<const std::byte> bytes, std::byte value, const char* what);

}  // namespace baton_conformance
