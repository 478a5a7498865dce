#include "src/control/address.h"

#include <gtest/gtest.h>

#include "src/base/random.h"
#include "tests/support/test_seed.h"

namespace baton::control {
namespace {

TEST(Address, EveryPartIsRead) {
  struct Case {
    const char* text;
    ControlAddress wanted;
  };
  const Case cases[] = {
      {"baton://127.0.0.1:41873/decode-0?auth=psk",
       {"127.0.0.1", 41873, "decode-0", AuthMode::kPsk}},
      {"baton://10.0.0.7:1/a?auth=none", {"10.0.0.7", 1, "a", AuthMode::kNone}},
      {"baton://[::1]:65535/a.b_c~d-e", {"::1", 65535, "a.b_c~d-e", AuthMode::kUnknown}},
      {"baton://[fe80::1%eth0]:80/x", {"fe80::1%eth0", 80, "x", AuthMode::kUnknown}},
      {"baton://node-7.rack_2.example:443/x",
       {"node-7.rack_2.example", 443, "x", AuthMode::kUnknown}},
  };
  for (const Case& one : cases) {
    const auto parsed = parse_address(one.text);
    ASSERT_TRUE(parsed.is_ok()) << parsed.status().to_string();
    EXPECT_EQ(*parsed, one.wanted) << one.text;
    EXPECT_EQ(format_address(*parsed), one.text);
  }
}

TEST(Address, WhatIsWrongIsNamed) {
  struct Case {
    std::string text;
    const char* part;
  };
  const Case cases[] = {
      {"", "does not begin with baton://"},
      {"http://127.0.0.1:1/x", "does not begin with baton://"},
      {"BATON://127.0.0.1:1/x", "does not begin with baton://"},
      {"baton://127.0.0.1:1", "has no /NAME"},
      {"baton://127.0.0.1/x", "has no HOST:PORT"},
      {"baton://:1/x", "has no HOST:PORT"},
      {"baton:///x", "has no HOST:PORT"},
      {"baton://::1:1/x", "IPv6 in brackets"},
      {"baton://[::1/x", "IPv6 in brackets"},
      {"baton://[::1]/x", "IPv6 in brackets"},
      {"baton://[]:1/x", "has no HOST:PORT"},
      {"baton://[127.0.0.1]:1/x", "has no HOST:PORT"},
      {"baton://a b:1/x", "has no HOST:PORT"},
      {"baton://user@host:1/x", "has no HOST:PORT"},
      {"baton://" + std::string(254, 'h') + ":1/x", "has no HOST:PORT"},
      {"baton://h:/x", "has no port in 1 to 65535"},
      {"baton://h:0/x", "has no port in 1 to 65535"},
      {"baton://h:65536/x", "has no port in 1 to 65535"},
      {"baton://h:-1/x", "has no port in 1 to 65535"},
      {"baton://h:+1/x", "has no port in 1 to 65535"},
      {"baton://h: 1/x", "has no port in 1 to 65535"},
      {"baton://h:1x/x", "has no port in 1 to 65535"},
      {"baton://h:99999999999999999999/x", "has no port in 1 to 65535"},
      {"baton://h:1/", "NAME is not 1 to 128"},
      {"baton://h:1/a/b", "NAME is not 1 to 128"},
      {"baton://h:1/a b", "NAME is not 1 to 128"},
      {"baton://h:1/" + std::string(129, 'n'), "NAME is not 1 to 128"},
      {"baton://h:1/x?", "knows only ?auth=psk and ?auth=none"},
      {"baton://h:1/x?auth=PSK", "knows only ?auth=psk and ?auth=none"},
      {"baton://h:1/x?auth=psk&a=b", "knows only ?auth=psk and ?auth=none"},
      {"baton://h:1/x?secret=abc", "knows only ?auth=psk and ?auth=none"},
      {"baton://h:1/" + std::string(600, 'n'), "is 612 bytes long"},
  };
  for (const Case& one : cases) {
    const auto parsed = parse_address(one.text);
    ASSERT_FALSE(parsed.is_ok()) << one.text;
    EXPECT_EQ(parsed.code(), StatusCode::kInvalidArgument);
    const std::string& message = parsed.status().message();
    EXPECT_NE(message.find(one.part), std::string::npos) << message;
    EXPECT_NE(message.find("\"" + one.text.substr(0, 200) + "\""), std::string::npos) << message;
    EXPECT_NE(message.find("wanted: baton://HOST:PORT/NAME"), std::string::npos) << message;
  }
}

TEST(Address, LongestOfEachPart) {
  const std::string text = "baton://" + std::string(253, 'h') + ":65535/" + std::string(128, 'n');
  ASSERT_LE(text.size(), kMaxAddressBytes);
  const auto parsed = parse_address(text);
  ASSERT_TRUE(parsed.is_ok()) << parsed.status().to_string();
  EXPECT_EQ(format_address(*parsed), text);
}

TEST(Address, WhatIsShownOfAHostileOnePrints) {
  const auto parsed = parse_address(std::string("baton://\n\x1b[31m\0\xff:1/x", 18));
  ASSERT_FALSE(parsed.is_ok());
  for (const char c : parsed.status().message()) {
    EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) << int{c};
  }
}

// Whatever is accepted comes back as it was.
TEST(Address, DamagedAddressesAreRefusedOrMeanWhatTheySay) {
  base::Random random(baton_test::test_seed());
  const std::string good = "baton://[fe80::1%eth0]:41873/decode-0?auth=psk";
  size_t accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = good;
    for (uint64_t i = random.between(1, 3); i > 0; --i) {
      const size_t at = random.below(text.size());
      if (random.below(2) == 0) {
        text[at] = static_cast<char>(random.next());
      } else {
        text.erase(at, random.between(1, 4));
      }
      if (text.empty()) text = "b";
    }
    const auto parsed = parse_address(text);
    if (!parsed.is_ok()) continue;
    ++accepted;
    const auto again = parse_address(format_address(*parsed));
    ASSERT_TRUE(again.is_ok()) << text;
    EXPECT_EQ(*again, *parsed) << text;
  }
  EXPECT_GT(accepted, 100u);
}

TEST(ContextName, OneTo128OfThoseThatNeedNoEscape) {
  for (const char* good : {"a", "decode-0", "A.b_C~9", "-"})
    EXPECT_TRUE(is_valid_context_name(good));
  EXPECT_TRUE(is_valid_context_name(std::string(128, 'x')));
  for (const char* bad : {"", "a b", "a/b", "a?b", "a\n", "\xc3\xa9"}) {
    EXPECT_FALSE(is_valid_context_name(bad)) << bad;
  }
  EXPECT_FALSE(is_valid_context_name(std::string(129, 'x')));
  EXPECT_FALSE(is_valid_context_name(std::string_view("a\0", 2)));
}

}  // namespace
}  // namespace baton::control
