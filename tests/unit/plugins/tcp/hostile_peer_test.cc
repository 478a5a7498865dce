// What a tcp path does with a bare socket at the other end. With a peer that does not keep to the
// protocol it breaks, says why, and places nothing it may not; it sleeps and wakes as it should.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "baton/plugin/builtin.h"
#include "plugins/tcp/frame.h"
#include "tests/conformance/connection.h"
#include "tests/support/test_seed.h"

namespace baton_tcp {
namespace {

// testing::Test has a member named Run.
using WireRun = ::baton_tcp::Run;
using baton_conformance::End;
using baton_conformance::expect_all;
using baton_conformance::Region;

// A path whose other end is a bare socket.
class HostilePeerTest : public ::testing::Test {
 protected:
  void SetUp() override { open(baton_conformance::StreamKind::kUnix); }
  void open(baton_conformance::StreamKind kind) {
    int fds[2];
    ASSERT_TRUE(baton_conformance::make_stream_pair(kind, fds));
    peer_ = fds[1];
    own_fd_ = fds[0];
    end_ = std::make_unique<End>(&clock_);
    end_->plugin = baton_plugin_tcp();
    char error[BATON_ERROR_BYTES] = {};
    ASSERT_EQ(end_->plugin->rail_open(end_->host.table(), nullptr, &end_->rail, error),
              BATON_RC_OK);
    baton_path_options options{};
    options.struct_size = sizeof options;
    options.cookie = end_->host.add_path();
    options.stream_fd = fds[0];
    options.max_message_bytes = 1u << 20;
    End::OpenPath path;
    ASSERT_EQ(end_->plugin->path_open(end_->rail, &options, &path.path, error), BATON_RC_OK);
    path.cookie = options.cookie;
    end_->paths.push_back(path);
    target_ = &end_->add_region(kTargetBytes);
  }
  void TearDown() override {
    end_->close();
    if (peer_ >= 0) ::close(peer_);
  }
  // Feeds the bytes, in pieces, and lets the path work on them. Stops when the path broke.
  void feed(const std::vector<uint8_t>& bytes, size_t piece = 1'000'000) {
    size_t at = 0;
    for (int idle = 0; at < bytes.size() && idle < 100 && !broken();) {
      const size_t length = std::min(piece, bytes.size() - at);
      const ssize_t sent = ::send(peer_, bytes.data() + at, length, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) at += static_cast<size_t>(sent);
      idle = sent > 0 ? 0 : idle + 1;
      end_->progress();
      drain();
    }
    for (int i = 0; i < 10; ++i) end_->progress();
  }
  void drain() {
    std::array<uint8_t, 65536> sink;
    while (::recv(peer_, sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
    }
  }
  [[nodiscard]] bool broken() { return end_->log().broken; }

  static std::vector<uint8_t> frame(const FrameHeader& header,
                                    const std::vector<WireRun>& runs = {}, size_t payload = 0) {
    std::vector<uint8_t> bytes(kHeaderBytes + runs.size() * kRunBytes, 0);
    encode_header(header, bytes.data());
    for (size_t i = 0; i < runs.size(); ++i) {
      encode_run(runs[i], bytes.data() + kHeaderBytes + i * kRunBytes);
    }
    bytes.resize(bytes.size() + payload, 0x77);
    return bytes;
  }
  std::vector<uint8_t> good_write() {
    return frame({FrameType::kWrite, kFlagImmediate, 2, 3000, 9, 1},
                 {{target_->key, 0, 1000}, {target_->key, 5000, 2000}}, 3000);
  }
  void expect_broken_by(const std::vector<uint8_t>& bytes, const char* reason) {
    feed(bytes);
    ASSERT_TRUE(broken()) << reason;
    EXPECT_NE(end_->log().reason.find(reason), std::string::npos) << end_->log().reason;
  }

  static constexpr uint32_t kTargetBytes = 1'000'000;
  baton_conformance::TestClock clock_;
  std::unique_ptr<End> end_;
  Region* target_ = nullptr;
  int peer_ = -1;
  int own_fd_ = -1;  // the path's
};

// The same over TCP, where the kernel wakes for long payloads by a low-water mark.
class TcpPeerTest : public HostilePeerTest {
 protected:
  void SetUp() override { open(baton_conformance::StreamKind::kTcpV4); }
  // As the data thread does: works only when the descriptor asks for it, until `done`.
  template <typename Done>
  bool drive_until(Done done) {
    while (!done()) {
      if (end_->plugin->arm(end_->rail) == 0) {
        pollfd waiting{end_->plugin->wait_fd(end_->rail), POLLIN, 0};
        if (::poll(&waiting, 1, 10'000) != 1) return false;
      }
      end_->progress();
    }
    return true;
  }
  void send_all(std::span<const uint8_t> bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t sent =
          ::send(peer_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) at += static_cast<size_t>(sent);
      if (sent < 0) end_->progress();
    }
  }
};

TEST_F(TcpPeerTest, TheEndOfALongPayloadWakesHoweverShortItIs) {
  for (const size_t tail : {1u, 10u, 1000u, 65'535u, 65'536u, 300'000u}) {
    std::fill(target_->bytes().begin(), target_->bytes().end(), baton_conformance::kPoison);
    const size_t before = end_->log().immediates.size();
    const std::vector<uint8_t> bytes =
        frame({FrameType::kWrite, kFlagImmediate, 1, kTargetBytes, 9, 1},
              {{target_->key, 0, kTargetBytes}}, kTargetBytes);
    const std::span<const uint8_t> all(bytes);
    send_all(all.first(bytes.size() - tail));
    // Everything that can be read has been: the path sleeps on what is left.
    for (int i = 0; i < 20; ++i) end_->progress();
    ASSERT_EQ(end_->log().immediates.size(), before);
    send_all(all.last(tail));
    ASSERT_TRUE(drive_until([&] { return end_->log().immediates.size() > before; })) << tail;
    expect_all(target_->bytes(), std::byte{0x77}, "the run");
    // A short frame behind a long one: the mark is down again.
    send_all(good_write());
    ASSERT_TRUE(drive_until([&] { return end_->log().immediates.size() > before + 1; })) << tail;
  }
}

TEST_F(TcpPeerTest, APeerThatLeavesWithinALongPayloadIsNoticed) {
  const std::vector<uint8_t> bytes =
      frame({FrameType::kWrite, kFlagImmediate, 1, kTargetBytes, 9, 1},
            {{target_->key, 0, kTargetBytes}}, kTargetBytes);
  send_all(std::span(bytes).first(5000));
  for (int i = 0; i < 20; ++i) end_->progress();
  ASSERT_FALSE(broken());
  ::shutdown(peer_, SHUT_WR);
  EXPECT_TRUE(drive_until([&] { return broken(); }));
  EXPECT_TRUE(end_->log().immediates.empty());
  expect_all(target_->bytes().subspan(5000), baton_conformance::kPoison, "what never came");
}

TEST_F(TcpPeerTest, WithinAHostSegmentsAreNotPaced) {
  char name[16] = {};
  socklen_t length = sizeof name;
  ASSERT_EQ(::getsockopt(own_fd_, IPPROTO_TCP, TCP_CONGESTION, name, &length), 0);
  EXPECT_STREQ(name, "reno");
}

TEST_F(HostilePeerTest, AGoodFrameInPiecesOfEverySizeIsPlaced) {
  for (const size_t piece : {1u, 7u, 23u, 24u, 25u, 100u, 1000u, 4000u}) {
    std::fill(target_->bytes().begin(), target_->bytes().end(), baton_conformance::kPoison);
    const size_t before = end_->log().immediates.size();
    feed(good_write(), piece);
    ASSERT_FALSE(broken()) << end_->log().reason;
    EXPECT_EQ(end_->log().immediates.size(), before + 1);
    expect_all(target_->bytes().first(1000), std::byte{0x77}, "first run");
    expect_all(target_->bytes().subspan(1000, 4000), baton_conformance::kPoison, "between");
    expect_all(target_->bytes().subspan(5000, 2000), std::byte{0x77}, "second run");
  }
}

TEST_F(HostilePeerTest, RandomBytesBreakThePath) {
  std::mt19937_64 random(baton_test::test_seed());
  for (int round = 0; round < 50; ++round) {
    TearDown();
    SetUp();
    std::vector<uint8_t> bytes(1 + random() % 5000);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    bytes[0] = 0;  // certainly no magic
    bytes.resize(std::max<size_t>(bytes.size(), kHeaderBytes));
    expect_broken_by(bytes, "magic");
    expect_all(target_->bytes(), baton_conformance::kPoison, "after garbage");
  }
}

TEST_F(HostilePeerTest, FlippedBitsNeverReachBeyondTheRegion) {
  std::mt19937_64 random(baton_test::test_seed());
  for (int round = 0; round < 400; ++round) {
    TearDown();
    SetUp();
    std::vector<uint8_t> bytes = good_write();
    const std::vector<uint8_t> read =
        frame({FrameType::kReadRequest, 0, 1, 0, 0, 1}, {{target_->key, 10, 5000}});
    bytes.insert(bytes.end(), read.begin(), read.end());
    for (int flips = 0; flips < 3; ++flips) {
      const size_t place = random() % (kHeaderBytes + 2 * kRunBytes);
      bytes[place] = static_cast<uint8_t>(bytes[place] ^ (1u << (random() % 8)));
    }
    feed(bytes, 1 + random() % 5000);  // guards and sanitizers judge
  }
}

TEST_F(HostilePeerTest, AnswersToNothingBreakThePath) {
  expect_broken_by(frame({FrameType::kReadData, 0, 0, 100, 0, 0}, {}, 100), "not asked for");
  TearDown();
  SetUp();
  expect_broken_by(frame({FrameType::kReadEnd, 0, 0, 0, 0, 0}), "not asked for");
  TearDown();
  SetUp();
  expect_broken_by(frame({FrameType::kFlushDone, 0, 0, 0, 0, 0}), "not asked for");
}

TEST_F(HostilePeerTest, WrongAnswersToAReadBreakThePath) {
  std::vector<std::byte> local(1000);
  const struct {
    std::vector<uint8_t> bytes;
    const char* reason;
  } cases[] = {
      {frame({FrameType::kReadData, 0, 0, 1001, 0, 0}, {}, 1001), "more read data"},
      {frame({FrameType::kReadEnd, 0, 0, 0, 0, 0}), "before all its bytes"},
      {frame({FrameType::kFlushDone, 0, 0, 0, 0, 0}), "flush that was not asked for"},
  };
  for (const auto& one : cases) {
    TearDown();
    SetUp();
    const uint64_t op = end_->read(*target_, 0, local.data(), 1000);
    expect_broken_by(one.bytes, one.reason);
    EXPECT_EQ(end_->log().ops[op], baton_conformance::OpState::kPosted);
    end_->fence();
    EXPECT_EQ(end_->log().ops[op], baton_conformance::OpState::kInDoubt);
  }
}

TEST_F(HostilePeerTest, TooManyRequestsBreakThePath) {
  // The peer never reads, so that answers cannot leave.
  std::vector<uint8_t> bytes;
  const std::vector<WireRun> runs(kMaxRuns, WireRun{target_->key, 0, 90'000});
  const auto one = frame({FrameType::kReadRequest, 0, kMaxRuns, 0, 0, 1}, runs);
  for (int i = 0; i < 6; ++i) bytes.insert(bytes.end(), one.begin(), one.end());
  size_t at = 0;
  for (int round = 0; round < 1000 && !broken(); ++round) {
    const ssize_t sent =
        ::send(peer_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) at += static_cast<size_t>(sent);
    end_->progress();
  }
  ASSERT_TRUE(broken());
  EXPECT_NE(end_->log().reason.find("unanswered"), std::string::npos) << end_->log().reason;
}

TEST_F(HostilePeerTest, AStreamThatEndsInsideAFrameSaysSo) {
  const std::vector<uint8_t> bytes = good_write();
  for (const size_t length : {size_t{5}, kHeaderBytes + 3, bytes.size() - 1}) {
    TearDown();
    SetUp();
    feed({bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length)});
    ::close(peer_);
    peer_ = -1;
    for (int i = 0; i < 100 && !broken(); ++i) end_->progress();
    ASSERT_TRUE(broken());
    EXPECT_NE(end_->log().reason.find("inside"), std::string::npos) << end_->log().reason;
    EXPECT_TRUE(end_->log().immediates.empty());
  }
}

TEST_F(HostilePeerTest, AFrameFollowedByTheEndIsPlacedFirst) {
  const std::vector<uint8_t> bytes = good_write();
  ASSERT_EQ(::send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
  ::close(peer_);
  peer_ = -1;
  for (int i = 0; i < 100 && !broken(); ++i) end_->progress();
  EXPECT_TRUE(broken());
  EXPECT_EQ(end_->log().immediates, std::vector<uint32_t>{9});
}

TEST(TcpOpenTest, WrongSocketsAndSettingsAreRefusedWithAReason) {
  baton_conformance::TestClock clock;
  End end(&clock);
  end.plugin = baton_plugin_tcp();
  char error[BATON_ERROR_BYTES] = {};
  baton_rail_options rail_options{};
  rail_options.struct_size = sizeof rail_options;
  for (const char* settings :
       {"colour=red", "send_buffer_bytes=much", "receive_buffer_bytes=-1",
        "congestion_control=", "congestion_control=a-name-that-is-too-long"}) {
    rail_options.settings = settings;
    EXPECT_EQ(end.plugin->rail_open(end.host.table(), &rail_options, &end.rail, error),
              BATON_RC_INVALID);
    EXPECT_NE(std::strstr(error, "setting"), nullptr) << error;
  }
  rail_options.settings = "congestion_control=no-such-thing";
  EXPECT_EQ(end.plugin->rail_open(end.host.table(), &rail_options, &end.rail, error),
            BATON_RC_UNAVAILABLE);
  EXPECT_NE(std::strstr(error, "no-such-thing"), nullptr) << error;
  rail_options.settings =
      "send_buffer_bytes=65536,receive_buffer_bytes=65536,congestion_control=reno";
  ASSERT_EQ(end.plugin->rail_open(end.host.table(), &rail_options, &end.rail, error), BATON_RC_OK);
  const int datagram = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int lonely = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  for (const int fd : {-1, datagram, lonely, 100'000}) {
    baton_path_options options{};
    options.struct_size = sizeof options;
    options.stream_fd = fd;
    baton_path* path = nullptr;
    error[0] = '\0';
    EXPECT_NE(end.plugin->path_open(end.rail, &options, &path, error), BATON_RC_OK);
    EXPECT_STRNE(error, "");
  }
  ::close(datagram);
  ::close(lonely);
  end.close();
}

}  // namespace
}  // namespace baton_tcp
