// Two ControlPlanes in one process: up, messages, down, and every way a hello can be refused.
#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "src/control/address.h"
#include "tests/unit/control/endpoint.h"
#include "tests/unit/control/raw_client.h"

namespace baton::control {
namespace {

using baton_test::Endpoint;
using baton_test::secret_options;
using baton_test::test_options;
using baton_test::test_secret;

class Connect : public ::testing::TestWithParam<bool> {
 protected:
  static ControlOptions options(const std::string& name) {
    return GetParam() ? secret_options(name) : test_options(name);
  }
};

INSTANTIATE_TEST_SUITE_P(Auth, Connect, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Psk" : "None"; });

TEST_P(Connect, BothSidesComeUpAndKnowEachOther) {
  Endpoint decode(options("decode-0"));
  Endpoint prefill(options("prefill-0"));
  ASSERT_TRUE(decode.started().is_ok()) << decode.started().to_string();
  prefill.describe.unit_bytes = 65536;
  const PeerId dialed = prefill.dial_and_wait(decode.address());
  ASSERT_TRUE(dialed);
  ASSERT_TRUE(decode.wait_up());
  decode.stop();
  prefill.stop();
  const PeerInfo& ours = prefill.ups[0].second;
  const PeerInfo& theirs = decode.ups[0].second;
  EXPECT_EQ(ours.name, "decode-0");
  EXPECT_EQ(theirs.name, "prefill-0");
  EXPECT_TRUE(ours.dialed_by_us);
  EXPECT_FALSE(theirs.dialed_by_us);
  EXPECT_EQ(ours.authenticated, GetParam());
  EXPECT_EQ(theirs.authenticated, GetParam());
  EXPECT_EQ(ours.unit_bytes, 65536u);
  EXPECT_EQ(theirs.unit_bytes, 65536u);
  EXPECT_TRUE(ours.describe == decode.describe);
  EXPECT_TRUE(theirs.describe == prefill.describe);
  EXPECT_EQ(ours.remote_address.substr(0, 10), "127.0.0.1:");
}

TEST_P(Connect, MessagesArriveInOrderBothWays) {
  Endpoint decode(options("decode-0"));
  Endpoint prefill(options("prefill-0"));
  const PeerId to_decode = prefill.dial_and_wait(decode.address());
  const PeerId to_prefill = decode.wait_up();
  ASSERT_TRUE(to_decode && to_prefill);
  constexpr uint64_t kCount = 3000;
  for (uint64_t i = 0; i < kCount; ++i) {
    const wire::Notify notify{i, std::vector<uint8_t>(i % 700, static_cast<uint8_t>(i))};
    ASSERT_TRUE(prefill.plane().send(to_decode, notify).is_ok());
    ASSERT_TRUE(decode.plane().send(to_prefill, notify).is_ok());
  }
  ASSERT_TRUE(decode.wait_messages(kCount));
  ASSERT_TRUE(prefill.wait_messages(kCount));
  decode.stop();
  prefill.stop();
  for (Endpoint* one : {&decode, &prefill}) {
    for (uint64_t i = 0; i < kCount; ++i) {
      const wire::Message wanted =
          wire::Notify{i, std::vector<uint8_t>(i % 700, static_cast<uint8_t>(i))};
      ASSERT_TRUE(one->messages[i].second == wanted) << i;
    }
  }
}

TEST_P(Connect, BigMessagesPass) {
  Endpoint decode(options("decode-0"));
  Endpoint prefill(options("prefill-0"));
  const PeerId peer = prefill.dial_and_wait(decode.address());
  wire::GrantOffer offer;
  offer.grant = GrantId(1);
  offer.block_lists = {std::vector<uint32_t>(wire::kMaxBlocks, 0xabcdef)};
  ASSERT_TRUE(prefill.plane().send(peer, offer).is_ok());
  ASSERT_TRUE(decode.wait_messages(1));
  decode.stop();
  EXPECT_TRUE(decode.messages[0].second == wire::Message(offer));
}

TEST_P(Connect, DisconnectTellsBothWhy) {
  Endpoint decode(options("decode-0"));
  Endpoint prefill(options("prefill-0"));
  const PeerId to_decode = prefill.dial_and_wait(decode.address());
  const PeerId to_prefill = decode.wait_up();
  prefill.plane().disconnect(to_decode, Status(StatusCode::kPeerLost, "had enough"));
  const auto here = prefill.wait_down(to_decode);
  const auto there = decode.wait_down(to_prefill);
  ASSERT_TRUE(here && there);
  EXPECT_EQ(*here, Status(StatusCode::kPeerLost, "had enough"));
  EXPECT_EQ(there->code(), StatusCode::kPeerLost);
  EXPECT_NE(there->message().find("had enough"), std::string::npos) << there->message();
  EXPECT_EQ(prefill.plane().send(to_decode, wire::Notify{}).code(), StatusCode::kNotFound);
  // And again: a new peer.
  const PeerId again = prefill.dial_and_wait(decode.address());
  EXPECT_TRUE(again && again != to_decode);
}

TEST_P(Connect, StopIsADeathNoticedAtOnce) {
  base::ManualClock stands_still(1'000'000'000);
  auto decode = std::make_unique<Endpoint>(options("decode-0"));
  Endpoint prefill(options("prefill-0"), &stands_still);
  const PeerId peer = prefill.dial_and_wait(decode->address());
  ASSERT_TRUE(peer);
  decode.reset();
  const auto why = prefill.wait_down(peer);
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kPeerLost);
  EXPECT_NE(why->message().find("shut down"), std::string::npos) << why->message();
}

TEST_P(Connect, BroadcastsReachEveryPeer) {
  Endpoint hub(options("hub"));
  Endpoint one(options("one"));
  Endpoint two(options("two"));
  ASSERT_TRUE(one.dial_and_wait(hub.address()));
  ASSERT_TRUE(hub.dial_and_wait(two.address()));
  ASSERT_TRUE(hub.wait_up(1));
  ASSERT_TRUE(hub.plane().broadcast(wire::SectionsChanged{{}, {SectionId(7)}}).is_ok());
  EXPECT_TRUE(one.wait_messages(1));
  EXPECT_TRUE(two.wait_messages(1));
}

TEST_P(Connect, VersionsThatDoNotMeetNameBothRanges) {
  ControlOptions old_options = options("old");
  old_options.protocol_min = 1;
  old_options.protocol_max = 2;
  ControlOptions new_options = options("new");
  new_options.protocol_min = 3;
  new_options.protocol_max = 4;
  Endpoint old_side(old_options);
  Endpoint new_side(new_options);
  const auto why = new_side.wait_dial_failed(new_side.dial(old_side.address()));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kMismatch);
  EXPECT_NE(why->message().find("\"new\" speaks 3 to 4"), std::string::npos) << why->message();
  EXPECT_NE(why->message().find("\"old\" speaks 1 to 2"), std::string::npos) << why->message();
  EXPECT_TRUE(old_side.wait_log("no common protocol version"));
}

TEST_P(Connect, TheHighestCommonVersionAndCommonFeaturesAreAgreed) {
  ControlOptions one = options("one");
  one.protocol_max = 5;
  one.features = 0b0111;
  one.required_features = 0b0001;
  ControlOptions two = options("two");
  two.protocol_max = 3;
  two.features = 0b1101;
  Endpoint acceptor(one);
  Endpoint dialer(two);
  ASSERT_TRUE(dialer.dial_and_wait(acceptor.address()));
  ASSERT_TRUE(acceptor.wait_up());
  dialer.stop();
  acceptor.stop();
  for (const Endpoint* side : {&dialer, &acceptor}) {
    EXPECT_EQ(side->ups[0].second.version, 3);
    EXPECT_EQ(side->ups[0].second.features, 0b0101u);
  }
}

TEST_P(Connect, AFeatureThatIsRequiredAndMissingIsAMismatch) {
  ControlOptions wants = options("wants");
  wants.features = wants.required_features = 0x40;
  Endpoint acceptor(wants);
  Endpoint dialer(options("lacks"));
  const auto why = dialer.wait_dial_failed(dialer.dial(acceptor.address()));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kMismatch);
  EXPECT_NE(why->message().find("0x40"), std::string::npos) << why->message();
}

TEST_P(Connect, CheckPeerMayRefuseOnEitherSide) {
  const Status unfit(StatusCode::kMismatch, "no common transport");
  for (const bool at_dialer : {true, false}) {
    Endpoint acceptor(options("acceptor"));
    Endpoint dialer(options("dialer"));
    (at_dialer ? dialer : acceptor).check = [&](const wire::Describe&) { return unfit; };
    const auto why = dialer.wait_dial_failed(dialer.dial(acceptor.address()));
    ASSERT_TRUE(why);
    EXPECT_EQ(why->code(), StatusCode::kMismatch);
    EXPECT_NE(why->message().find("no common transport"), std::string::npos) << why->message();
    EXPECT_TRUE(acceptor.wait_log("no common transport"));
    acceptor.stop();
    EXPECT_TRUE(acceptor.ups.empty());
  }
}

TEST_P(Connect, AgainAndAgainIsANewPeerEachTime) {
  Endpoint decode(options("decode-0"));
  Endpoint prefill(options("prefill-0"));
  std::set<PeerId> peers;
  for (size_t i = 0; i < 50; ++i) {
    const PeerId peer = prefill.dial_and_wait(decode.address());
    ASSERT_TRUE(peer);
    ASSERT_TRUE(decode.wait_up(i));
    EXPECT_TRUE(peers.insert(peer).second);
    prefill.plane().disconnect(peer, Status(StatusCode::kPeerLost, "next round"));
    ASSERT_TRUE(decode.wait_for([&] { return decode.downs.size() == decode.ups.size(); }));
  }
}

TEST_P(Connect, Ipv6) {
  ControlOptions v6 = options("decode-0");
  v6.bind_host = "::1";
  Endpoint decode(v6);
  if (!decode.started().is_ok()) GTEST_SKIP() << "no IPv6 here: " << decode.started().to_string();
  EXPECT_EQ(decode.address().substr(0, 14), "baton://[::1]:");
  Endpoint prefill(options("prefill-0"));
  ASSERT_TRUE(prefill.dial_and_wait(decode.address()));
  prefill.stop();
  EXPECT_EQ(prefill.ups[0].second.remote_address.substr(0, 6), "[::1]:");
}

TEST_P(Connect, NothingLeaks) {
  const size_t before = baton_test::count_open_fds();
  {
    Endpoint decode(options("decode-0"));
    Endpoint prefill(options("prefill-0"));
    const PeerId peer = prefill.dial_and_wait(decode.address());
    const auto ticket = decode.plane().expect_stream(decode.wait_up(), PathEpoch(1));
    ASSERT_TRUE(ticket.is_ok());
    prefill.plane().open_stream(peer, PathEpoch(1), *ticket);
    ASSERT_TRUE(prefill.wait_stream());
    ASSERT_TRUE(decode.wait_stream());
    baton_test::RawClient silent(decode.address());
    prefill.plane().disconnect(peer, Status(StatusCode::kPeerLost, "done"));
    ASSERT_TRUE(prefill.wait_down(peer));
    ASSERT_TRUE(prefill.dial_and_wait(decode.address()));
  }
  EXPECT_EQ(baton_test::count_open_fds(), before);
}

TEST(Secrets, AnotherSecretIsPermissionDeniedAndNamesBothEnds) {
  Endpoint decode(secret_options("decode-0", 1));
  Endpoint prefill(secret_options("prefill-0", 2));
  const auto why = prefill.wait_dial_failed(prefill.dial(decode.address()));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kPermissionDenied) << why->to_string();
  for (const char* part : {"prefill-0", "decode-0", "127.0.0.1:", "same secret file"}) {
    EXPECT_NE(why->message().find(part), std::string::npos) << why->message();
  }
  EXPECT_TRUE(decode.wait_log("PERMISSION_DENIED"));
}

TEST(Secrets, AnAddressSaysWhetherThereIsASecret) {
  Endpoint with(secret_options("with"));
  Endpoint without(test_options("without"));
  EXPECT_EQ(without.plane().dial(with.address()).code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(with.plane().dial(without.address()).code(), StatusCode::kPermissionDenied);
}

// The same, where the address does not say: the wire does.
std::string unsaid(const std::string& address) { return address.substr(0, address.find('?')); }

TEST(Secrets, ADialerWithoutOneIsToldByTheAcceptor) {
  Endpoint with(secret_options("with"));
  Endpoint without(test_options("without"));
  const auto why = without.wait_dial_failed(without.dial(unsaid(with.address())));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kPermissionDenied) << why->to_string();
  EXPECT_NE(why->message().find("same secret file"), std::string::npos) << why->message();
}

TEST(Secrets, ADialerWithOneIsToldByTheAcceptor) {
  Endpoint without(test_options("without"));
  Endpoint with(secret_options("with"));
  const auto why = with.wait_dial_failed(with.dial(unsaid(without.address())));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kPermissionDenied) << why->to_string();
}

TEST(Bind, AnotherProcessOnTheSameAddress) {
  Endpoint first(test_options("first"));
  ControlOptions same = test_options("second");
  same.port = parse_address(first.address())->port;
  Endpoint second(same);
  EXPECT_EQ(second.started().code(), StatusCode::kAddressInUse);
  EXPECT_NE(second.started().message().find("127.0.0.1:" + std::to_string(same.port)),
            std::string::npos)
      << second.started().to_string();
}

TEST(Bind, OpenBindWantsASecret) {
  ControlOptions open = test_options("open");
  open.bind_host = "0.0.0.0";
  EXPECT_EQ(Endpoint(open).started().code(), StatusCode::kPermissionDenied);
  open.allow_unauthenticated = true;
  Endpoint allowed(open);
  EXPECT_TRUE(allowed.started().is_ok()) << allowed.started().to_string();
  EXPECT_TRUE(allowed.wait_log("without a secret"));
  open.allow_unauthenticated = false;
  open.secret = test_secret(1);
  EXPECT_TRUE(Endpoint(open).started().is_ok());
}

TEST(Dial, NobodyListens) {
  std::string address;
  {
    Endpoint gone(test_options("gone"));
    address = gone.address();
  }
  Endpoint dialer(test_options("dialer"));
  const auto why = dialer.wait_dial_failed(dialer.dial(address));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kUnavailable) << why->to_string();
  EXPECT_NE(why->message().find("127.0.0.1:"), std::string::npos) << why->message();
}

TEST(Dial, WrongNameInTheAddress) {
  Endpoint decode(test_options("decode-1"));
  Endpoint dialer(test_options("dialer"));
  std::string address = decode.address();
  address.replace(address.find("decode-1"), 8, "decode-0");
  const auto why = dialer.wait_dial_failed(dialer.dial(address));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kMismatch) << why->to_string();
  EXPECT_NE(why->message().find("decode-1"), std::string::npos) << why->message();
}

TEST(Dial, ItselfIsRefused) {
  Endpoint self(test_options("self"));
  EXPECT_EQ(self.plane().dial(self.address()).code(), StatusCode::kInvalidArgument);
  std::string alias = self.address();
  alias.replace(alias.find("/self"), 5, "/other");
  const auto why = self.wait_dial_failed(self.dial(alias));
  ASSERT_TRUE(why);
  EXPECT_EQ(why->code(), StatusCode::kInvalidArgument) << why->to_string();
}

}  // namespace
}  // namespace baton::control
