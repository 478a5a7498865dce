#include "src/wire/frame.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "src/base/random.h"
#include "tests/support/test_seed.h"

namespace baton::wire {
namespace {

std::vector<uint8_t> framed(size_t length, uint8_t fill) {
  std::vector<uint8_t> out = {static_cast<uint8_t>(length), static_cast<uint8_t>(length >> 8),
                              static_cast<uint8_t>(length >> 16),
                              static_cast<uint8_t>(length >> 24)};
  out.resize(4 + length, fill);
  return out;
}

TEST(FrameReader, FramesComeOutWholeHoweverTheyArrive) {
  base::Random random(baton_test::test_seed());
  std::vector<uint8_t> stream;
  std::vector<size_t> lengths;
  for (uint8_t i = 0; i < 200; ++i) {
    lengths.push_back(random.between(1, 3000));
    const auto frame = framed(lengths.back(), i);
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  FrameReader reader(4096);
  size_t seen = 0;
  for (size_t at = 0; at < stream.size();) {
    const size_t piece = std::min<size_t>(random.between(1, 5000), stream.size() - at);
    reader.feed(std::span(stream).subspan(at, piece));
    at += piece;
    for (;;) {
      const auto frame = reader.next();
      ASSERT_TRUE(frame.is_ok());
      if (!frame->has_value()) break;
      ASSERT_EQ((*frame)->size(), lengths[seen]);
      EXPECT_TRUE(
          std::all_of((*frame)->begin(), (*frame)->end(), [&](uint8_t b) { return b == seen; }));
      ++seen;
    }
  }
  EXPECT_EQ(seen, lengths.size());
  EXPECT_EQ(reader.buffered_bytes(), 0u);
}

TEST(FrameReader, OversizedFramesAreRefusedByTheirLengthAloneAndForGood) {
  FrameReader reader(100);
  reader.feed(std::vector<uint8_t>{101, 0, 0, 0});
  EXPECT_EQ(reader.next().code(), StatusCode::kProtocolError);
  reader.feed(framed(10, 1));
  EXPECT_EQ(reader.next().code(), StatusCode::kProtocolError);
}

TEST(FrameReader, EmptyFramesAreRefused) {
  FrameReader reader(100);
  reader.feed(std::vector<uint8_t>{0, 0, 0, 0});
  EXPECT_EQ(reader.next().code(), StatusCode::kProtocolError);
}

TEST(FrameReader, AnAnnouncedLengthReservesNothing) {
  FrameReader reader(size_t{64} << 20);
  reader.feed(std::vector<uint8_t>{0, 0, 0, 4});
  const auto frame = reader.next();
  ASSERT_TRUE(frame.is_ok());
  EXPECT_FALSE(frame->has_value());
  EXPECT_EQ(reader.buffered_bytes(), 4u);
}

}  // namespace
}  // namespace baton::wire
