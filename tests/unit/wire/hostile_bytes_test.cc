// Damaged messages: refused with kProtocolError, or a message within the limits. Never a crash; the
// sanitizer builds say so of memory.
#include <gtest/gtest.h>

#include "flatbuffers/flatbuffers.h"
#include "src/base/random.h"
#include "src/wire/messages.h"
#include "src/wire/validate.h"
#include "tests/support/test_seed.h"
#include "tests/unit/wire/sample_messages.h"

namespace baton::wire {
namespace {

std::vector<uint8_t> sample_body(const Message& message) {
  auto frame = encode(message);
  EXPECT_TRUE(frame.is_ok()) << message_name(message);
  return std::vector<uint8_t>(frame->begin() + kFramePrefixBytes, frame->end());
}

// True when it was accepted.
bool check(const std::vector<uint8_t>& body, const char* what) {
  // Exactly as long as the body, so that a read past its end is seen.
  const std::vector<uint8_t> exact(body);
  const auto decoded = decode(exact);
  if (!decoded.is_ok()) {
    EXPECT_EQ(decoded.code(), StatusCode::kProtocolError) << what;
    EXPECT_FALSE(decoded.status().message().empty()) << what;
    return false;
  }
  EXPECT_TRUE(validate(*decoded).is_ok()) << what;
  const auto again = encode(*decoded);
  EXPECT_TRUE(again.is_ok()) << what << ": " << again.status().to_string();
  return true;
}

TEST(HostileBytes, EveryTruncation) {
  for (const Message& message : baton_test::sample_messages()) {
    const std::vector<uint8_t> body = sample_body(message);
    for (size_t length = 0; length < body.size(); ++length) {
      check(std::vector<uint8_t>(body.begin(), body.begin() + static_cast<ptrdiff_t>(length)),
            message_name(message));
    }
  }
}

TEST(HostileBytes, EveryBitFlip) {
  size_t accepted = 0;
  size_t refused = 0;
  for (const Message& message : baton_test::sample_messages()) {
    std::vector<uint8_t> body = sample_body(message);
    for (size_t bit = 0; bit < body.size() * 8; ++bit) {
      const auto mask = static_cast<uint8_t>(1u << (bit % 8));
      body[bit / 8] = static_cast<uint8_t>(body[bit / 8] ^ mask);
      ++(check(body, message_name(message)) ? accepted : refused);
      body[bit / 8] = static_cast<uint8_t>(body[bit / 8] ^ mask);
    }
  }
  // Flips of plain values are other valid messages; flips of structure are not.
  EXPECT_GT(refused, 1000u);
  EXPECT_GT(accepted, 100u);
}

TEST(HostileBytes, RandomDamage) {
  base::Random random(baton_test::test_seed());
  const std::vector<Message> samples = baton_test::sample_messages();
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint8_t> body = sample_body(samples[random.below(samples.size())]);
    for (uint64_t i = random.between(1, 12); i > 0; --i)
      body[random.below(body.size())] = static_cast<uint8_t>(random.next());
    check(body, "random damage");
  }
}

TEST(HostileBytes, Noise) {
  base::Random random(baton_test::test_seed());
  for (int round = 0; round < 5000; ++round) {
    std::vector<uint8_t> body(random.below(600));
    random.fill(body);
    check(body, "noise");
  }
}

TEST(HostileBytes, OneVectorUnderManyNamesDoesNotUnfold) {
  // By hand: a Describe whose 60,000 sections are all the same table with one long name. The
  // structure is what control.fbs says (fields 4 + 2 * index in the vtable).
  flatbuffers::FlatBufferBuilder b;
  const auto name = b.CreateString(std::string(255, 'n'));
  const auto section_start = b.StartTable();
  b.AddElement<uint32_t>(4, 1, 0);
  b.AddOffset(6, name);
  const auto section = flatbuffers::Offset<void>(b.EndTable(section_start));
  const auto sections = b.CreateVector(std::vector<flatbuffers::Offset<void>>(60000, section));
  const auto describe_start = b.StartTable();
  b.AddElement<uint32_t>(4, kMinUnitBytes, 0);
  b.AddOffset(12, sections);
  const auto describe = flatbuffers::Offset<void>(b.EndTable(describe_start));
  const auto envelope_start = b.StartTable();
  b.AddElement<uint8_t>(4, 3, 0);
  b.AddOffset(6, describe);
  b.Finish(flatbuffers::Offset<void>(b.EndTable(envelope_start)));
  const auto decoded = decode(std::span(b.GetBufferPointer(), b.GetSize()));
  ASSERT_FALSE(decoded.is_ok());
  EXPECT_NE(decoded.status().message().find("unfolds to more bytes"), std::string::npos)
      << decoded.status().to_string();
}

TEST(HostileBytes, OversizedIsRefusedUnread) {
  const std::vector<uint8_t> body(kMaxMessageBytes + 1);
  EXPECT_EQ(decode(body).code(), StatusCode::kProtocolError);
}

}  // namespace
}  // namespace baton::wire
