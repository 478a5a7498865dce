#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "src/wire/messages.h"
#include "tests/unit/wire/sample_messages.h"

namespace baton::wire {
namespace {

using baton_test::sample_messages;

std::span<const uint8_t> body_of(const std::vector<uint8_t>& frame) {
  return std::span(frame).subspan(kFramePrefixBytes);
}

TEST(Codec, SamplesCoverEveryMessage) {
  std::set<size_t> kinds;
  for (const Message& message : sample_messages()) kinds.insert(message.index());
  EXPECT_EQ(kinds.size(), std::variant_size_v<Message>);
}

TEST(Codec, EveryMessageComesBackEqual) {
  for (const Message& message : sample_messages()) {
    const auto frame = encode(message);
    ASSERT_TRUE(frame.is_ok()) << message_name(message) << ": " << frame.status().to_string();
    const auto decoded = decode(body_of(*frame));
    ASSERT_TRUE(decoded.is_ok()) << message_name(message) << ": " << decoded.status().to_string();
    EXPECT_TRUE(*decoded == message) << message_name(message);
  }
}

TEST(Codec, PrefixIsTheLengthOfTheBody) {
  const auto frame = encode(Notify{1, std::vector<uint8_t>(300, 1)});
  ASSERT_TRUE(frame.is_ok());
  const size_t length = (*frame)[0] | size_t{(*frame)[1]} << 8 | size_t{(*frame)[2]} << 16 |
                        size_t{(*frame)[3]} << 24;
  EXPECT_EQ(length, frame->size() - kFramePrefixBytes);
}

TEST(Codec, DecodesAtAnyAlignment) {
  const auto frame = encode(baton_test::sample_describe());
  ASSERT_TRUE(frame.is_ok());
  const auto body = body_of(*frame);
  for (size_t shift = 0; shift < 9; ++shift) {
    std::vector<uint8_t> moved(shift + body.size());
    std::copy(body.begin(), body.end(), moved.begin() + static_cast<ptrdiff_t>(shift));
    const auto decoded = decode(std::span(moved).subspan(shift));
    ASSERT_TRUE(decoded.is_ok()) << shift;
    EXPECT_TRUE(*decoded == Message(baton_test::sample_describe()));
  }
}

TEST(Codec, TextForPeopleIsCutAndMadePrintable) {
  const auto frame = encode(Goodbye{StatusCode::kIoError, "line\nbreak " + std::string(5000, 'x')});
  ASSERT_TRUE(frame.is_ok());
  const auto decoded = decode(body_of(*frame));
  ASSERT_TRUE(decoded.is_ok());
  const std::string& reason = std::get<Goodbye>(*decoded).reason;
  EXPECT_EQ(reason.substr(0, 11), "line?break ");
  EXPECT_EQ(reason.size(), kMaxTextBytes);
}

TEST(Codec, NamesAreDistinct) {
  std::set<std::string> names;
  for (const Message& message : sample_messages()) names.insert(message_name(message));
  EXPECT_EQ(names.size(), std::variant_size_v<Message>);
  EXPECT_STREQ(message_name(Notify{}), "Notify");
  EXPECT_STREQ(message_name(Hello{}), "Hello");
}

}  // namespace
}  // namespace baton::wire
