#include "src/control/tls.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "src/base/random.h"
#include "tests/support/test_seed.h"
#include "tests/unit/control/endpoint.h"

namespace baton::control {
namespace {

using baton_test::test_secret;

// Two sessions and the bytes between them.
struct Pair {
  explicit Pair(const Secret& dialer_secret, const Secret& acceptor_secret)
      : dialer_context(TlsContext::create(dialer_secret)),
        acceptor_context(TlsContext::create(acceptor_secret)),
        dialer((*dialer_context)->start(TlsRole::kDialer)),
        acceptor((*acceptor_context)->start(TlsRole::kAcceptor)) {}

  // Carries bytes to and fro until nothing moves or one side fails. `damage` sees each delivery.
  void run(const std::function<void(bool to_acceptor, std::vector<uint8_t>&)>& damage = nullptr) {
    at_dialer = (*dialer)->feed({}, to_dialer_plain);
    for (bool moved = true; moved && at_dialer.is_ok() && at_acceptor.is_ok();) {
      moved = false;
      for (const bool to_acceptor : {true, false}) {
        std::vector<uint8_t> bytes;
        (to_acceptor ? *dialer : *acceptor)->take_output(bytes);
        if (bytes.empty()) continue;
        if (damage) damage(to_acceptor, bytes);
        moved = true;
        Status& status = to_acceptor ? at_acceptor : at_dialer;
        const Status fed = to_acceptor ? (*acceptor)->feed(bytes, to_acceptor_plain)
                                       : (*dialer)->feed(bytes, to_dialer_plain);
        if (status.is_ok()) status = fed;
      }
    }
    // The alert of the side that failed.
    for (const bool to_acceptor : {true, false}) {
      std::vector<uint8_t> bytes;
      (to_acceptor ? *dialer : *acceptor)->take_output(bytes);
      Status& status = to_acceptor ? at_acceptor : at_dialer;
      if (bytes.empty() || !status.is_ok()) continue;
      status = to_acceptor ? (*acceptor)->feed(bytes, to_acceptor_plain)
                           : (*dialer)->feed(bytes, to_dialer_plain);
    }
  }

  bool is_established() const {
    return (*dialer)->is_established() && (*acceptor)->is_established();
  }

  Result<std::unique_ptr<TlsContext>> dialer_context;
  Result<std::unique_ptr<TlsContext>> acceptor_context;
  Result<std::unique_ptr<TlsSession>> dialer;
  Result<std::unique_ptr<TlsSession>> acceptor;
  std::vector<uint8_t> to_dialer_plain;
  std::vector<uint8_t> to_acceptor_plain;
  Status at_dialer;
  Status at_acceptor;
};

std::vector<uint8_t> carry(TlsSession& from, TlsSession& to, const std::vector<uint8_t>& plain) {
  std::vector<uint8_t> cipher;
  std::vector<uint8_t> out;
  EXPECT_TRUE(from.seal(plain).is_ok());
  from.take_output(cipher);
  // Byte by byte, as the worst network would.
  for (const uint8_t& byte : cipher) EXPECT_TRUE(to.feed(std::span(&byte, 1), out).is_ok());
  return out;
}

TEST(Tls, OneSecretIsProofEnoughForBoth) {
  Pair pair(test_secret(1), test_secret(1));
  pair.run();
  ASSERT_TRUE(pair.is_established()) << pair.at_dialer.to_string() << pair.at_acceptor.to_string();
  base::Random random(baton_test::test_seed());
  for (const size_t length : {1u, 100u, 16384u, 16385u, 70000u}) {
    std::vector<uint8_t> plain(length);
    random.fill(plain);
    EXPECT_EQ(carry(**pair.dialer, **pair.acceptor, plain), plain) << length;
    EXPECT_EQ(carry(**pair.acceptor, **pair.dialer, plain), plain) << length;
  }
}

TEST(Tls, StreamKeysAreOfOneSession) {
  Pair one(test_secret(1), test_secret(1));
  Pair two(test_secret(1), test_secret(1));
  one.run();
  two.run();
  ASSERT_TRUE(one.is_established() && two.is_established());
  EXPECT_EQ((*one.dialer)->stream_key(), (*one.acceptor)->stream_key());
  EXPECT_NE((*one.dialer)->stream_key(), (*two.dialer)->stream_key());
  EXPECT_NE((*one.dialer)->stream_key(), StreamKey{});
}

TEST(Tls, AnotherSecretIsDeniedAtBothEnds) {
  Pair pair(test_secret(1), test_secret(2));
  pair.run();
  EXPECT_FALSE((*pair.dialer)->is_established());
  EXPECT_FALSE((*pair.acceptor)->is_established());
  EXPECT_EQ(pair.at_dialer.code(), StatusCode::kPermissionDenied) << pair.at_dialer.to_string();
  EXPECT_EQ(pair.at_acceptor.code(), StatusCode::kPermissionDenied) << pair.at_acceptor.to_string();
}

TEST(Tls, ASideWithoutASecretAnswersWithAnAlertThatIsUnderstood) {
  const auto context = TlsContext::create(test_secret(1));
  auto dialer = (*context)->start(TlsRole::kDialer);
  std::vector<uint8_t> plain;
  ASSERT_TRUE((*dialer)->feed({}, plain).is_ok());
  const Status told = (*dialer)->feed(kNoSecretAlert, plain);
  EXPECT_EQ(told.code(), StatusCode::kPermissionDenied) << told.to_string();
}

// Nobody in the middle may change a bit of the handshake.
TEST(Tls, NoHandshakeSurvivesAFlippedBit) {
  size_t length = 0;
  {
    Pair pair(test_secret(1), test_secret(1));
    pair.run([&](bool, std::vector<uint8_t>& bytes) { length += bytes.size(); });
  }
  base::Random random(baton_test::test_seed());
  size_t failed = 0;
  constexpr size_t kRounds = 200;
  for (size_t round = 0; round < kRounds; ++round) {
    size_t at = random.below(length);
    const auto mask = static_cast<uint8_t>(1u << random.below(8));
    Pair pair(test_secret(1), test_secret(1));
    pair.run([&](bool, std::vector<uint8_t>& bytes) {
      if (at < bytes.size()) bytes[at] = static_cast<uint8_t>(bytes[at] ^ mask);
      at = at < bytes.size() ? SIZE_MAX : at - bytes.size();
    });
    // The legacy version of a record is all that TLS 1.3 wants ignored; it is not authenticated.
    if (!pair.is_established()) ++failed;
    if (!pair.is_established()) continue;
    EXPECT_EQ((*pair.dialer)->stream_key(), (*pair.acceptor)->stream_key());
  }
  EXPECT_GT(failed, kRounds * 8 / 10);
}

TEST(Tls, ARecordThatIsChangedReplayedOrMissedEndsTheSession) {
  for (const char* attack : {"change", "replay", "miss"}) {
    Pair pair(test_secret(1), test_secret(1));
    pair.run();
    ASSERT_TRUE(pair.is_established());
    std::vector<uint8_t> first;
    std::vector<uint8_t> second;
    ASSERT_TRUE((*pair.dialer)->seal(std::vector<uint8_t>(100, 1)).is_ok());
    (*pair.dialer)->take_output(first);
    ASSERT_TRUE((*pair.dialer)->seal(std::vector<uint8_t>(100, 2)).is_ok());
    (*pair.dialer)->take_output(second);
    std::vector<uint8_t> plain;
    const std::string how = attack;
    Status status;
    if (how == "change") {
      first[50] = static_cast<uint8_t>(first[50] ^ 1);
      status = (*pair.acceptor)->feed(first, plain);
    } else if (how == "replay") {
      ASSERT_TRUE((*pair.acceptor)->feed(first, plain).is_ok());
      plain.clear();
      status = (*pair.acceptor)->feed(first, plain);
    } else {
      status = (*pair.acceptor)->feed(second, plain);
    }
    EXPECT_EQ(status.code(), StatusCode::kProtocolError) << how << ": " << status.to_string();
    EXPECT_TRUE(plain.empty()) << how;
  }
}

// OpenSSL reads nothing past a close_notify: whatever came after it would be kept for good.
TEST(Tls, AfterACloseNotifyTheSessionIsOver) {
  Pair pair(test_secret(1), test_secret(1));
  pair.run();
  ASSERT_TRUE(pair.is_established());
  std::vector<uint8_t> cipher;
  ASSERT_TRUE((*pair.dialer)->seal(std::vector<uint8_t>(100, 1)).is_ok());
  (*pair.dialer)->close_notify();
  (*pair.dialer)->take_output(cipher);
  std::vector<uint8_t> plain;
  for (int i = 0; i < 2; ++i) {
    const Status status = (*pair.acceptor)->feed(cipher, plain);
    EXPECT_EQ(status.code(), StatusCode::kPeerLost) << status.to_string();
    EXPECT_NE(status.message().find("close_notify"), std::string::npos) << status.to_string();
    // What came before it counts.
    EXPECT_EQ(plain, std::vector<uint8_t>(100, 1));
  }
}

TEST(Tls, NoiseIsAProtocolError) {
  base::Random random(baton_test::test_seed());
  const auto context = TlsContext::create(test_secret(1));
  for (int round = 0; round < 200; ++round) {
    auto session = (*context)->start(round % 2 == 0 ? TlsRole::kAcceptor : TlsRole::kDialer);
    std::vector<uint8_t> bytes(random.between(6, 600));
    random.fill(bytes);
    bytes[0] = kTlsFirstByte;
    std::vector<uint8_t> plain;
    const Status status = (*session)->feed(bytes, plain);
    EXPECT_FALSE((*session)->is_established());
    EXPECT_TRUE(plain.empty());
    // A record may announce more than has come.
    if (status.is_ok()) continue;
    EXPECT_EQ(status.code(), StatusCode::kProtocolError) << status.to_string();
  }
}

}  // namespace
}  // namespace baton::control
