// Damaged messages: refused with kProtocolError, or a message within the limits. Never a crash; the
// sanitizer builds say so of memory.
#include <flatbuffers/flatbuffers.h>
#include <gtest/gtest.h>

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

// An Envelope around the table that `add_table` builds; the body's type is a number of Body.
template <typename AddTable>
std::vector<uint8_t> hand_made(uint8_t type, AddTable add_table) {
  flatbuffers::FlatBufferBuilder b;
  const flatbuffers::Offset<void> body = add_table(b);
  const auto start = b.StartTable();
  b.AddElement<uint8_t>(4, type, 0);
  b.AddOffset(6, body);
  b.Finish(flatbuffers::Offset<void>(b.EndTable(start)));
  return std::vector<uint8_t>(b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize());
}

// A vector of `count` elements that are aligned to 4 bytes only: `pad` words follow its last one.
flatbuffers::Offset<void> add_words(flatbuffers::FlatBufferBuilder& b, size_t count,
                                    const std::vector<uint32_t>& words, size_t pad) {
  for (size_t i = 0; i < pad; ++i) b.PushElement<uint32_t>(0);
  b.StartVector(words.size(), sizeof(uint32_t));
  for (size_t i = words.size(); i > 0; --i) b.PushElement<uint32_t>(words[i - 1]);
  return flatbuffers::Offset<void>(b.EndVector(count));
}

// The verifier looks at the alignment of a vector's length only. Of two messages whose vectors lie
// 4 bytes apart, one is refused, and the other is read.
template <typename Message, typename MakeBody, typename Check>
void expect_one_is_misaligned(MakeBody make_body, Check check_read) {
  size_t refused = 0;
  for (size_t pad = 0; pad < 2; ++pad) {
    const std::vector<uint8_t> body = make_body(pad);
    const auto decoded = decode(body);
    if (decoded.is_ok()) {
      check_read(std::get<Message>(*decoded));
      continue;
    }
    ++refused;
    EXPECT_EQ(decoded.code(), StatusCode::kProtocolError);
    EXPECT_NE(decoded.status().message().find("not aligned to 8 bytes"), std::string::npos)
        << decoded.status().to_string();
  }
  EXPECT_EQ(refused, 1u);
}

TEST(HostileBytes, MisalignedStructs) {
  constexpr uint8_t kFenced = 17;
  const auto make_body = [](size_t pad) {
    return hand_made(kFenced, [pad](flatbuffers::FlatBufferBuilder& b) {
      // struct Applied: grant, ordinal, generation and padding, units.
      const auto applied = add_words(b, 1, {6, 0, 3, 63, 99, 0}, pad);
      const auto start = b.StartTable();
      b.AddElement<uint64_t>(4, 7, 0);
      b.AddOffset(6, applied);
      return flatbuffers::Offset<void>(b.EndTable(start));
    });
  };
  expect_one_is_misaligned<Fenced>(make_body, [](const Fenced& read) {
    EXPECT_EQ(read, (Fenced{PathEpoch(7), {{GrantId(6), 3, 63, 99}}}));
  });
}

TEST(HostileBytes, MisalignedNumbers) {
  constexpr uint8_t kQuiesced = 13;
  const auto make_body = [](size_t pad) {
    return hand_made(kQuiesced, [pad](flatbuffers::FlatBufferBuilder& b) {
      const auto signalled = add_words(b, 2, {1, 0, 2, 0}, pad);
      const auto path_start = b.StartTable();
      b.AddElement<uint64_t>(4, 7, 0);
      b.AddOffset(8, signalled);
      const auto path = flatbuffers::Offset<void>(b.EndTable(path_start));
      const auto paths = b.CreateVector(std::vector<flatbuffers::Offset<void>>{path});
      const auto start = b.StartTable();
      b.AddElement<uint64_t>(4, 6, 0);
      b.AddOffset(6, paths);
      return flatbuffers::Offset<void>(b.EndTable(start));
    });
  };
  expect_one_is_misaligned<Quiesced>(make_body, [](const Quiesced& read) {
    EXPECT_EQ(read, (Quiesced{GrantId(6), {{PathEpoch(7), false, {1, 2}}}}));
  });
}

TEST(HostileBytes, OversizedIsRefusedUnread) {
  const std::vector<uint8_t> body(kMaxMessageBytes + 1);
  EXPECT_EQ(decode(body).code(), StatusCode::kProtocolError);
}

}  // namespace
}  // namespace baton::wire
