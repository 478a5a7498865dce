// Data sockets: who gets one, who gets none, and what both ends are told.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>

#include "src/base/random.h"
#include "tests/support/test_seed.h"
#include "tests/unit/control/endpoint.h"
#include "tests/unit/control/raw_client.h"

namespace baton::control {
namespace {

using baton_test::Endpoint;
using baton_test::raw_hello;
using baton_test::RawClient;
using baton_test::RawServer;
using baton_test::secret_options;
using baton_test::test_options;
using baton_test::test_secret;

class Streams : public ::testing::TestWithParam<bool> {
 protected:
  static ControlOptions options(const std::string& name) {
    ControlOptions options = GetParam() ? secret_options(name) : test_options(name);
    options.dead_after_ms = 3'600'000;
    return options;
  }

  // A peer played by hand, with what it takes to prove data sockets. It can be dialled at server_.
  void connect_raw() {
    if (GetParam()) {
      ASSERT_TRUE(raw_.start_tls(test_secret(1), TlsRole::kDialer));
    }
    wire::Hello hello = raw_hello("raw");
    hello.address = server_.address("raw");
    const auto welcome = raw_.become_peer(hello);
    ASSERT_TRUE(welcome);
    session_ = welcome->session;
    key_ = GetParam() ? raw_.tls_stream_key() : welcome->stream_key;
    peer_ = decode_.wait_up();
    ASSERT_TRUE(peer_);
  }

  wire::StreamTicket ticket(PathEpoch epoch) {
    const auto made = decode_.plane().expect_stream(peer_, epoch);
    EXPECT_TRUE(made.is_ok()) << made.status().to_string();
    return made.is_ok() ? *made : wire::StreamTicket{};
  }

  StreamOpening opening(PathEpoch epoch, const wire::StreamTicket& ticket) {
    StreamOpening out{session_, epoch, ticket, {}};
    random_.fill(out.nonce);
    return out;
  }

  bool is_taken(const OpeningBytes& bytes) {
    RawClient stream(decode_.address());
    AnswerBytes answer{};
    return stream.send_raw(bytes) && stream.read_exactly(answer) &&
           is_answer_to(answer, bytes, key_);
  }

  void expect_refused(const OpeningBytes& bytes, const std::string& what) {
    RawClient stream(decode_.address());
    EXPECT_TRUE(stream.send_raw(bytes)) << what;
    uint8_t byte = 0;
    EXPECT_FALSE(stream.read_exactly(std::span(&byte, 1))) << what << ": it answered";
  }

  base::Random random_{baton_test::test_seed()};
  base::ManualClock clock_{1'000'000'000};
  Endpoint decode_{options("decode-0"), &clock_};
  RawServer server_;
  RawClient raw_{decode_.address()};
  PeerId peer_;
  size_t failures_ = 0;
  uint64_t session_ = 0;
  StreamKey key_{};
};

INSTANTIATE_TEST_SUITE_P(Auth, Streams, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Psk" : "None"; });

void expect_carries(const base::UniqueFd& from, const base::UniqueFd& to) {
  std::vector<uint8_t> sent(5000);
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<uint8_t>(i * 31);
  ASSERT_EQ(send(from.get(), sent.data(), sent.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(sent.size()));
  RawClient reader{base::UniqueFd(fcntl(to.get(), F_DUPFD_CLOEXEC, 0))};
  ASSERT_EQ(fcntl(to.get(), F_SETFL, fcntl(to.get(), F_GETFL) & ~O_NONBLOCK), 0);
  std::vector<uint8_t> got(sent.size());
  ASSERT_TRUE(reader.read_exactly(got));
  EXPECT_EQ(got, sent);
  EXPECT_TRUE(reader.is_quiet());
}

void expect_as_promised(const base::UniqueFd& stream) {
  ASSERT_TRUE(stream);
  EXPECT_NE(fcntl(stream.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(stream.get(), F_GETFD) & FD_CLOEXEC, 0);
  int no_delay = 0;
  socklen_t length = sizeof(no_delay);
  EXPECT_EQ(getsockopt(stream.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, &length), 0);
  EXPECT_NE(no_delay, 0);
}

TEST_P(Streams, EitherSideMayDial) {
  Endpoint prefill(options("prefill-0"), &clock_);
  const PeerId to_decode = prefill.dial_and_wait(decode_.address());
  const PeerId to_prefill = decode_.wait_up();
  ASSERT_TRUE(to_decode && to_prefill);
  for (uint64_t epoch = 1; epoch <= 6; ++epoch) {
    const bool forth = epoch % 2 == 1;
    Endpoint& dialer = forth ? prefill : decode_;
    Endpoint& acceptor = forth ? decode_ : prefill;
    const auto ticket =
        acceptor.plane().expect_stream(forth ? to_prefill : to_decode, PathEpoch(epoch));
    ASSERT_TRUE(ticket.is_ok());
    dialer.plane().open_stream(forth ? to_decode : to_prefill, PathEpoch(epoch), *ticket);
    const base::UniqueFd one = dialer.wait_stream();
    const base::UniqueFd two = acceptor.wait_stream();
    expect_as_promised(one);
    expect_as_promised(two);
    expect_carries(one, two);
    expect_carries(two, one);
  }
}

TEST_P(Streams, WhatFollowsTheProofIsTheStreams) {
  connect_raw();
  const OpeningBytes bytes = write_opening(opening(PathEpoch(1), ticket(PathEpoch(1))), key_);
  std::vector<uint8_t> together(bytes.begin(), bytes.end());
  together.insert(together.end(), {1, 2, 3});
  RawClient ours(decode_.address());
  ASSERT_TRUE(ours.send_raw(together));
  RawClient theirs(decode_.wait_stream());
  std::array<uint8_t, 3> first{};
  ASSERT_EQ(recv(theirs.fd(), first.data(), first.size(), 0), 3);
  EXPECT_EQ(first, (std::array<uint8_t, 3>{1, 2, 3}));
}

TEST_P(Streams, AnOpeningMayTrickle) {
  connect_raw();
  const OpeningBytes bytes = write_opening(opening(PathEpoch(1), ticket(PathEpoch(1))), key_);
  RawClient stream(decode_.address());
  for (const uint8_t& byte : bytes) {
    EXPECT_TRUE(stream.is_quiet());
    ASSERT_TRUE(stream.send_raw(std::span(&byte, 1)));
    decode_.settle();
  }
  AnswerBytes answer{};
  ASSERT_TRUE(stream.read_exactly(answer));
  EXPECT_TRUE(is_answer_to(answer, bytes, key_));
}

TEST_P(Streams, ButNotForMoreThanTwoSeconds) {
  connect_raw();
  const OpeningBytes bytes = write_opening(opening(PathEpoch(1), ticket(PathEpoch(1))), key_);
  RawClient stream(decode_.address());
  ASSERT_TRUE(stream.send_raw(std::span(bytes).first(kOpeningBytes - 1)));
  decode_.settle();
  decode_.advance_ms(1999);
  EXPECT_TRUE(stream.is_open());
  decode_.advance_ms(1);
  EXPECT_TRUE(stream.is_closed_by_peer());
  EXPECT_TRUE(is_taken(bytes)) << "the ticket was not used";
}

TEST_P(Streams, ATicketIsGoodOnce) {
  connect_raw();
  const wire::StreamTicket once = ticket(PathEpoch(1));
  const OpeningBytes bytes = write_opening(opening(PathEpoch(1), once), key_);
  EXPECT_TRUE(is_taken(bytes));
  expect_refused(bytes, "replayed");
  expect_refused(write_opening(opening(PathEpoch(1), once), key_), "with a new nonce");
}

TEST_P(Streams, NothingIsTakenThatIsNotProven) {
  connect_raw();
  const wire::StreamTicket good = ticket(PathEpoch(1));
  wire::StreamTicket wrong = good;
  wrong[31] = static_cast<uint8_t>(wrong[31] ^ 1);
  expect_refused(write_opening(opening(PathEpoch(1), wrong), key_), "another ticket");
  expect_refused(write_opening(opening(PathEpoch(2), good), key_), "another epoch");
  StreamOpening elsewhere = opening(PathEpoch(1), good);
  elsewhere.session ^= 1;
  expect_refused(write_opening(elsewhere, key_), "another session");
  StreamKey another = key_;
  another[0] = static_cast<uint8_t>(another[0] ^ 1);
  expect_refused(write_opening(opening(PathEpoch(1), good), another), "another key");
  const OpeningBytes bytes = write_opening(opening(PathEpoch(1), good), key_);
  for (size_t i = 1; i < kOpeningBytes; ++i) {
    OpeningBytes damaged = bytes;
    damaged[i] = static_cast<uint8_t>(damaged[i] ^ (1u << random_.below(8)));
    expect_refused(damaged, "byte " + std::to_string(i) + " damaged");
  }
  EXPECT_TRUE(is_taken(bytes)) << "no attempt has used the ticket up";
}

TEST_P(Streams, ATicketExpires) {
  connect_raw();
  const OpeningBytes bytes = write_opening(opening(PathEpoch(1), ticket(PathEpoch(1))), key_);
  decode_.advance_ms(4999);
  ticket(PathEpoch(2));  // of its own deadline
  decode_.advance_ms(1);
  const auto why = decode_.wait_stream_failed();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kDeadlineExceeded) << why->to_string();
  EXPECT_NE(why->message().find("within 5000 ms"), std::string::npos) << why->message();
  expect_refused(bytes, "expired");
  decode_.settle();
  decode_.stop();
  EXPECT_EQ(decode_.failed_streams.size(), 1u);
}

TEST_P(Streams, TicketsArePerPeerAndSixtyFour) {
  connect_raw();
  for (uint64_t i = 1; i <= 64; ++i) ticket(PathEpoch(i));
  const auto more = decode_.plane().expect_stream(peer_, PathEpoch(65));
  EXPECT_EQ(more.code(), StatusCode::kBusy) << more.status().to_string();
  EXPECT_NE(more.status().message().find("64 data sockets"), std::string::npos);
}

TEST_P(Streams, WithThePeerGoItsTicketsAndItsHalfMadeStreams) {
  connect_raw();
  const OpeningBytes bytes = write_opening(opening(PathEpoch(1), ticket(PathEpoch(1))), key_);
  decode_.plane().open_stream(peer_, PathEpoch(2), {});
  RawClient half = server_.accept();
  decode_.plane().disconnect(peer_, Status(StatusCode::kPeerLost, "enough"));
  ASSERT_TRUE(decode_.wait_down(peer_));
  EXPECT_TRUE(half.is_closed_by_peer());
  expect_refused(bytes, "after the peer went down");
  decode_.advance_ms(10'000);
  decode_.stop();
  EXPECT_TRUE(decode_.failed_streams.empty());
  EXPECT_TRUE(decode_.streams.empty());
}

// ---- the dialer's side, before an acceptor that is played by hand

TEST_P(Streams, TheDialerProvesItselfAndWantsProof) {
  connect_raw();
  wire::StreamTicket given{};
  random_.fill(given);
  decode_.plane().open_stream(peer_, PathEpoch(9), given);
  RawClient stream = server_.accept();
  OpeningBytes bytes{};
  ASSERT_TRUE(stream.read_exactly(bytes));
  const auto read = read_opening(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->session, session_);
  EXPECT_EQ(read->epoch, PathEpoch(9));
  EXPECT_EQ(read->ticket, given);
  EXPECT_NE(read->nonce, wire::HelloNonce{});
  EXPECT_TRUE(is_proven(bytes, key_));
  ASSERT_TRUE(stream.send_raw(write_answer(bytes, key_)));
  expect_as_promised(decode_.wait_stream());
}

TEST_P(Streams, AnAcceptorThatProvesNothingGetsNoStream) {
  connect_raw();
  const auto answered_with = [&](const std::function<AnswerBytes(const OpeningBytes&)>& answer) {
    const size_t before = failures_++;
    decode_.plane().open_stream(peer_, PathEpoch(1), {});
    RawClient stream = server_.accept();
    OpeningBytes bytes{};
    EXPECT_TRUE(stream.read_exactly(bytes));
    EXPECT_TRUE(stream.send_raw(answer(bytes)));
    EXPECT_TRUE(stream.is_closed_by_peer());
    const auto why = decode_.wait_stream_failed(before);
    ASSERT_TRUE(why);
    EXPECT_EQ(why->code(), StatusCode::kPermissionDenied) << why->to_string();
    EXPECT_NE(why->message().find("did not prove that it is the peer"), std::string::npos);
  };
  AnswerBytes old{};
  answered_with([&](const OpeningBytes& bytes) {
    old = write_answer(bytes, key_);
    AnswerBytes damaged = old;
    damaged[39] = static_cast<uint8_t>(damaged[39] ^ 1);
    return damaged;
  });
  answered_with([&](const OpeningBytes&) { return old; });  // of another nonce
  answered_with([&](const OpeningBytes& bytes) {
    AnswerBytes reflected = write_answer(bytes, key_);
    std::copy_n(bytes.end() - sizeof(Mac), sizeof(Mac), reflected.end() - sizeof(Mac));
    return reflected;
  });
  answered_with([&](const OpeningBytes& bytes) {
    AnswerBytes preface = write_answer(bytes, key_);
    preface[0] = 'X';
    return preface;
  });
}

TEST_P(Streams, ARefusalAndSilenceAreTold) {
  connect_raw();
  decode_.plane().open_stream(peer_, PathEpoch(1), {});
  server_.accept().end_output();
  auto why = decode_.wait_stream_failed(0);
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kPathLost) << why->to_string();
  EXPECT_NE(why->message().find("refused its ticket or proof"), std::string::npos);

  decode_.plane().open_stream(peer_, PathEpoch(2), {});
  RawClient silent = server_.accept();
  decode_.settle();
  decode_.advance_ms(5000);
  why = decode_.wait_stream_failed(1);
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kDeadlineExceeded) << why->to_string();
  EXPECT_FALSE(decode_.is_down(peer_)) << "the control connection is not at fault";
}

TEST_P(Streams, NobodyListensWhereThePeerSays) {
  connect_raw();
  server_.close();
  decode_.plane().open_stream(peer_, PathEpoch(1), {});
  const auto why = decode_.wait_stream_failed();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kUnavailable) << why->to_string();
  EXPECT_NE(why->message().find("127.0.0.1:"), std::string::npos) << why->message();
}

}  // namespace
}  // namespace baton::control
