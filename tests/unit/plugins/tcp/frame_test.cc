#include "plugins/tcp/frame.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>
#include <vector>

namespace baton_tcp {
namespace {

// testing::Test has a member named Run.
using WireRun = ::baton_tcp::Run;
constexpr uint32_t kLongest = 1u << 20;

FrameHeader write_header() {
  FrameHeader header;
  header.type = FrameType::kWrite;
  header.flags = kFlagImmediate;
  header.run_count = 2;
  header.payload_bytes = 300;
  header.immediate = 0x01020304;
  header.grant = 0x1122334455667788;
  return header;
}

TEST(FrameTest, TheLayoutIsAsDocumented) {
  std::array<uint8_t, kHeaderBytes> bytes{};
  encode_header(write_header(), bytes.data());
  const std::array<uint8_t, kHeaderBytes> expected{0x54, 0x42, 1,    1,    2,    0,    0,    0,
                                                   0x2c, 1,    0,    0,    0x04, 0x03, 0x02, 0x01,
                                                   0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
  EXPECT_EQ(bytes, expected);
  std::array<uint8_t, kRunBytes> run{};
  encode_run({5, 0x0807060504030201, 0x100}, run.data());
  const std::array<uint8_t, kRunBytes> expected_run{5, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4,
                                                    5, 6, 7, 8, 0, 1, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(run, expected_run);
}

TEST(FrameTest, WhatIsEncodedIsDecoded) {
  std::array<uint8_t, kHeaderBytes> bytes{};
  encode_header(write_header(), bytes.data());
  FrameHeader header;
  ASSERT_EQ(decode_header(bytes.data(), kLongest, &header), nullptr);
  EXPECT_EQ(header.type, FrameType::kWrite);
  EXPECT_EQ(header.immediate, 0x01020304u);
  EXPECT_EQ(header.grant, 0x1122334455667788u);
  std::array<uint8_t, 2 * kRunBytes> table{};
  encode_run({1, 2, 100}, table.data());
  encode_run({3, 4, 200}, table.data() + kRunBytes);
  std::vector<WireRun> runs(kMaxRuns);
  ASSERT_EQ(decode_runs(table.data(), header, kLongest, runs.data()), nullptr);
  EXPECT_EQ(runs[1].key, 3u);
  EXPECT_EQ(runs[1].address, 4u);
  EXPECT_EQ(runs[1].length_bytes, 200u);
}

TEST(FrameTest, AWriteWithoutRunsIsAnImmediate) {
  FrameHeader signal = write_header();
  signal.run_count = 0;
  signal.payload_bytes = 0;
  std::array<uint8_t, kHeaderBytes> bytes{};
  encode_header(signal, bytes.data());
  FrameHeader header;
  ASSERT_EQ(decode_header(bytes.data(), kLongest, &header), nullptr);
  EXPECT_EQ(header.run_count, 0u);
  EXPECT_EQ(header.payload_bytes, 0u);
  EXPECT_EQ(header.immediate, signal.immediate);
  EXPECT_EQ(header.grant, signal.grant);
}

TEST(FrameTest, EveryWrongHeaderIsNamed) {
  struct Case {
    const char* text;
    std::function<void(FrameHeader*)> change;
  };
  const Case cases[] = {
      {"type", [](FrameHeader* h) { h->type = static_cast<FrameType>(0); }},
      {"type", [](FrameHeader* h) { h->type = static_cast<FrameType>(7); }},
      {"flag", [](FrameHeader* h) { h->flags = kFlagRefused; }},
      {"flag", [](FrameHeader* h) { h->flags = 0x80; }},
      {"immediate", [](FrameHeader* h) { h->flags = 0; }},
      {"payload in", [](FrameHeader* h) { h->run_count = 0; }},
      {"run count", [](FrameHeader* h) { *h = {FrameType::kWrite, 0, 0, 0, 0, 1}; }},
      {"run count", [](FrameHeader* h) { *h = {FrameType::kReadRequest, 0, 0, 0, 0, 1}; }},
      {"run count", [](FrameHeader* h) { h->run_count = kMaxRuns + 1; }},
      {"run count", [](FrameHeader* h) { h->run_count = UINT32_MAX; }},
      {"payload length", [](FrameHeader* h) { h->payload_bytes = 0; }},
      {"payload length", [](FrameHeader* h) { h->payload_bytes = kFrameCloseBytes + kLongest; }},
      {"payload length", [](FrameHeader* h) { h->payload_bytes = UINT32_MAX; }},
      {"payload in", [](FrameHeader* h) { *h = {FrameType::kFlush, 0, 0, 1, 0, 0}; }},
      {"runs in", [](FrameHeader* h) { *h = {FrameType::kFlush, 0, 1, 0, 0, 0}; }},
      {"grant in", [](FrameHeader* h) { *h = {FrameType::kReadEnd, 0, 0, 0, 0, 1}; }},
      {"payload in", [](FrameHeader* h) { *h = {FrameType::kReadRequest, 0, 1, 9, 0, 1}; }},
      {"payload length",
       [](FrameHeader* h) { *h = {FrameType::kReadData, 0, 0, kMaxReadDataBytes + 1, 0, 0}; }},
  };
  for (const Case& one : cases) {
    FrameHeader header = write_header();
    one.change(&header);
    std::array<uint8_t, kHeaderBytes> bytes{};
    encode_header(header, bytes.data());
    FrameHeader out;
    const char* wrong = decode_header(bytes.data(), kLongest, &out);
    ASSERT_NE(wrong, nullptr) << one.text;
    EXPECT_NE(std::strstr(wrong, one.text), nullptr) << wrong;
  }
  std::array<uint8_t, kHeaderBytes> zeros{};
  FrameHeader out;
  EXPECT_NE(decode_header(zeros.data(), kLongest, &out), nullptr);
}

TEST(FrameTest, EveryWrongRunIsNamed) {
  const FrameHeader header{FrameType::kWrite, 0, 1, 100, 0, 1};
  struct Case {
    const char* text;
    WireRun run;
  };
  const Case cases[] = {{"length 0", {1, 2, 0}},
                        {"longer", {1, 2, kLongest + 1}},
                        {"2^64", {1, UINT64_MAX - 50, 100}},
                        {"add up", {1, 2, 99}}};
  for (const Case& one : cases) {
    std::array<uint8_t, kRunBytes> bytes{};
    encode_run(one.run, bytes.data());
    WireRun out;
    const char* wrong = decode_runs(bytes.data(), header, kLongest, &out);
    ASSERT_NE(wrong, nullptr) << one.text;
    EXPECT_NE(std::strstr(wrong, one.text), nullptr) << wrong;
  }
  std::array<uint8_t, kRunBytes> bytes{};
  encode_run({1, 2, 100}, bytes.data());
  bytes[23] = 1;
  WireRun out;
  EXPECT_NE(decode_runs(bytes.data(), header, kLongest, &out), nullptr);
}

}  // namespace
}  // namespace baton_tcp
