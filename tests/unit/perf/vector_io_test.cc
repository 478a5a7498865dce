#include "perf/baselines/vector_io.h"

#include <gtest/gtest.h>
#include <limits.h>
#include <sys/socket.h>

#include <thread>

#include "perf/baselines/socket.h"

namespace baton_perf {
namespace {

struct SocketPair {
  SocketPair() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    one = Socket(fds[0]);
    other = Socket(fds[1]);
  }
  Socket one, other;
};

TEST(VectorIoTest, CursorJoinsNeighboursAndAdvances) {
  uint8_t bytes[100];
  VectorCursor cursor;
  EXPECT_TRUE(cursor.done());
  cursor.append(bytes, 10);
  cursor.append(bytes + 10, 10);
  cursor.append(bytes + 50, 10);
  ASSERT_EQ(cursor.front(1000).size(), 2u);
  EXPECT_EQ(cursor.front(1000)[0].iov_len, 20u);
  cursor.advance(25);
  ASSERT_EQ(cursor.front(1000).size(), 1u);
  EXPECT_EQ(cursor.front(1000)[0].iov_base, bytes + 55);
  cursor.advance(5);
  EXPECT_TRUE(cursor.done());
}

TEST(VectorIoTest, FrontEndsAtTheByteLimit) {
  uint8_t bytes[100];
  VectorCursor cursor;
  cursor.append(bytes, 10);
  cursor.append(bytes + 20, 10);
  cursor.append(bytes + 40, 10);
  ASSERT_EQ(cursor.front(15).size(), 2u);
  EXPECT_EQ(cursor.front(15)[1].iov_len, 5u);
  cursor.advance(12);
  ASSERT_EQ(cursor.front(100).size(), 2u);
  EXPECT_EQ(cursor.front(100)[0].iov_base, bytes + 22);
  EXPECT_EQ(cursor.front(100)[0].iov_len, 8u);
  EXPECT_EQ(cursor.front(8).size(), 1u);
  cursor.advance(8);
  cursor.advance(10);
  EXPECT_TRUE(cursor.done());
}

TEST(VectorIoTest, MoreRangesThanOneCallTakes) {
  SocketPair pair;
  constexpr size_t kRanges = IOV_MAX * 2 + 7;
  std::vector<uint32_t> source(kRanges * 2), target(kRanges * 2, 0);
  VectorCursor outgoing, incoming;
  for (size_t i = 0; i < kRanges; ++i) {
    source[2 * i] = static_cast<uint32_t>(i + 1);
    outgoing.append(&source[2 * i], 4);
    incoming.append(&target[2 * i], 4);
  }
  std::thread sender([&] { EXPECT_TRUE(send_vector(pair.one.fd(), outgoing, 0).is_ok()); });
  EXPECT_TRUE(receive_vector(pair.other.fd(), incoming).is_ok());
  sender.join();
  EXPECT_EQ(source, target);
}

TEST(VectorIoTest, AFullSocketIsNoError) {
  SocketPair pair;
  std::vector<uint8_t> bytes(4u << 20);
  VectorCursor cursor;
  cursor.append(bytes.data(), bytes.size());
  const auto moved = send_vector(pair.one.fd(), cursor, MSG_DONTWAIT);
  ASSERT_TRUE(moved.is_ok());
  EXPECT_EQ(*moved, Moved::kWouldBlock);
  EXPECT_FALSE(cursor.done());
}

TEST(VectorIoTest, APeerThatIsGoneIsNamed) {
  SocketPair pair;
  pair.other.shut_down();
  uint8_t byte = 0;
  EXPECT_EQ(receive_exactly(pair.one.fd(), &byte, 1).code(), baton::StatusCode::kPeerLost);
  VectorCursor cursor;
  cursor.append(&byte, 1);
  EXPECT_EQ(send_vector(pair.one.fd(), cursor, 0).code(), baton::StatusCode::kPeerLost);
}

}  // namespace
}  // namespace baton_perf
