// Two connections that claim one name: crossing dials, restarted processes, impostors.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <future>
#include <memory>

#include "tests/unit/control/names_rig.h"

namespace baton::control {
namespace {

TEST_F(Names, AHigherIncarnationReplacesTheConnection) {
  auto [first, old_peer] = raw_peer(hello_of("z", 7, 5));
  auto [second, new_peer] = raw_peer(hello_of("z", 7, 6));
  ASSERT_TRUE(old_peer && new_peer);
  EXPECT_NE(old_peer, new_peer);
  expect_status(m_.wait_down(old_peer), StatusCode::kPeerLost, "\"z\" connected anew");
  EXPECT_TRUE(first.is_closed_by_peer());
  m_.stop();
  EXPECT_EQ(m_.order, (std::vector<std::string>{"up 1", "down 1", "up 2"}));
}

TEST_F(Names, AnEqualOrLowerIncarnationIsRefused) {
  RawClient first(m_.address());
  const auto up = first.become_peer(hello_of("z", 7, 5));
  ASSERT_TRUE(up);
  for (const uint64_t incarnation : {5u, 4u}) {
    RawClient replayed(m_.address());
    expect_refused_as_connected(answer_to(replayed, hello_of("z", 7, incarnation)), up->session);
    EXPECT_TRUE(replayed.is_closed_by_peer());
  }
  // Higher, but of one who knows that the connection is alive.
  wire::Hello knows = hello_of("z", 7, 6);
  knows.known_session = up->session;
  RawClient again(m_.address());
  expect_refused_as_connected(answer_to(again, knows), up->session);
  EXPECT_FALSE(m_.is_down(m_.wait_up()));
}

TEST_F(Names, ANameThatIsAliveIsInUse) {
  Endpoint owner(options("z"), &clock_);
  const PeerId owned = owner.dial_and_wait(m_.address());
  const PeerId peer = m_.wait_up();
  Endpoint impostor(options("z"), &clock_);
  expect_status(impostor.wait_dial_failed(impostor.dial(m_.address())), StatusCode::kAddressInUse,
                "\"z\" is alive at 127.0.0.1:");
  EXPECT_FALSE(m_.is_down(peer));
  EXPECT_FALSE(owner.is_down(owned));
}

TEST_F(Names, ANameThatDoesNotAnswerWithinASecondIsTakenOver) {
  auto [silent, old_peer] = raw_peer(hello_of("z", 7, 1));
  RawClient heir(m_.address());
  ASSERT_TRUE(heir.send_hello(hello_of("z", 8, 1)));
  m_.settle();
  m_.advance_ms(999);
  EXPECT_FALSE(m_.is_down(old_peer));
  EXPECT_TRUE(heir.is_quiet());
  m_.advance_ms(1);
  expect_status(m_.wait_down(old_peer), StatusCode::kPeerLost, "another process took its name");
  const auto welcome = heir.read_next<wire::Welcome>();
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->code, StatusCode::kOk);
  ASSERT_TRUE(heir.send(baton_test::sample_describe()));
  ASSERT_TRUE(m_.wait_up(1));
  m_.stop();
  EXPECT_EQ(m_.order, (std::vector<std::string>{"up 1", "down 1", "up 2"}));
}

TEST_F(Names, OnlyTheNonceOfTheProbeDefendsTheName) {
  for (const bool is_right : {false, true}) {
    const std::string name = is_right ? "right" : "wrong";
    auto [owner, peer] = raw_peer(hello_of(name, 7, 1));
    RawClient other(m_.address());
    ASSERT_TRUE(other.send_hello(hello_of(name, 8, 1)));
    const auto probe = read_probe(owner);
    ASSERT_TRUE(probe);
    ASSERT_TRUE(owner.send(wire::Heartbeat{0, 0, 0, *probe ^ (is_right ? 0u : 2u)}));
    ASSERT_TRUE(owner.send(wire::Heartbeat{1, 0, 0, 0}));  // life of any other kind is no defence
    m_.settle();
    m_.advance_ms(1000);
    const auto welcome = other.read_next<wire::Welcome>();
    ASSERT_TRUE(welcome);
    EXPECT_EQ(welcome->code, is_right ? StatusCode::kAddressInUse : StatusCode::kOk);
    EXPECT_EQ(m_.is_down(peer), !is_right);
  }
}

TEST_F(Names, OfTwoHeirsTheFirstDefendsTheName) {
  auto [silent, old_peer] = raw_peer(hello_of("z", 7, 1));
  RawClient first(m_.address());
  ASSERT_TRUE(first.send_hello(hello_of("z", 8, 1)));
  m_.settle();
  RawClient second(m_.address());
  ASSERT_TRUE(second.send_hello(hello_of("z", 9, 1)));
  m_.settle();
  m_.advance_ms(1000);
  const auto welcome = first.read_next<wire::Welcome>();
  ASSERT_TRUE(welcome);
  ASSERT_EQ(welcome->code, StatusCode::kOk) << welcome->text;
  ASSERT_TRUE(first.send(baton_test::sample_describe()));
  const auto probe = read_probe(first);
  ASSERT_TRUE(probe);
  ASSERT_TRUE(first.send(wire::Heartbeat{0, 0, 0, *probe}));
  const auto refusal = second.read_next<wire::Welcome>();
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->code, StatusCode::kAddressInUse) << refusal->text;
  EXPECT_FALSE(m_.is_down(m_.wait_up(1)));
}

TEST_F(Names, ARestartedProcessIsANewPeer) {
  for (const bool with_secret : {false, true}) {
    Endpoint decode(with_secret ? secret_options("decode-0") : test_options("decode-0"));
    const ControlOptions z = with_secret ? secret_options("z") : test_options("z");
    auto before = std::make_unique<Endpoint>(z);
    ASSERT_TRUE(before->dial_and_wait(decode.address()));
    ASSERT_TRUE(decode.wait_up());
    before.reset();
    Endpoint after(z);
    ASSERT_TRUE(after.dial_and_wait(decode.address()));
    ASSERT_TRUE(decode.wait_up(1));
    decode.stop();
    EXPECT_EQ(decode.order, (std::vector<std::string>{"up 1", "down 1", "up 2"}));
    EXPECT_NE(decode.ups[0].second.boot_id, decode.ups[1].second.boot_id);
  }
}

// ---- the same, found out by the dialer

TEST_F(Names, ADialerProbesTheOldConnectionBeforeItTakesAnotherProcess) {
  for (const bool answers : {true, false}) {
    const std::string name = answers ? "alive" : "dead";
    auto [owner, old_peer] = raw_peer(hello_of(name, 7, 1));
    const PeerId dialed = m_.dial(server_.address(name));
    auto [other, hello] = server_.accept_hello();
    ASSERT_TRUE(other.send(raw_welcome(name, hello)));  // of boot 2
    const auto probe = read_probe(owner);
    ASSERT_TRUE(probe);
    if (answers) {
      ASSERT_TRUE(owner.send(wire::Heartbeat{0, 0, 0, *probe}));
      expect_status(m_.wait_dial_failed(dialed), StatusCode::kAddressInUse, "keeps its name");
      EXPECT_FALSE(m_.is_down(old_peer));
      continue;
    }
    m_.settle();
    m_.advance_ms(1000);
    expect_status(m_.wait_down(old_peer), StatusCode::kPeerLost, "took its name");
    ASSERT_TRUE(other.send(baton_test::sample_describe()));
    ASSERT_TRUE(other.read_next<wire::Describe>());
    ASSERT_TRUE(other.send(wire::Confirm{}));
    EXPECT_EQ(m_.wait_up(2), dialed);
  }
}

TEST_F(Names, APeerThatForgotTheConnectionIsConnectedAnew) {
  auto [old_end, old_peer] = raw_peer(hello_of("z", 2, 1));
  const PeerId dialed = m_.dial(server_.address("z"));
  auto [client, hello] = server_.accept_hello();
  EXPECT_NE(hello.known_session, 0u);
  accept_as(client, raw_welcome("z", hello));  // of boot 2, too
  expect_status(m_.wait_down(old_peer), StatusCode::kPeerLost, "was connected anew");
  EXPECT_EQ(m_.wait_up(1), dialed);
}

// ---- crossing dials: the lower name's survives

TEST_F(Names, TheLowerNameHoldsTheOtherUntilItsOwnDialIsProven) {
  const PeerId dialed = m_.dial(server_.address("z"));
  auto [ours, hello] = server_.accept_hello();
  RawClient crossing(m_.address());
  ASSERT_TRUE(crossing.send_hello(hello_of("z", 2, 1)));
  m_.settle();
  EXPECT_TRUE(crossing.is_quiet());
  accept_as(ours, raw_welcome("z", hello));
  EXPECT_EQ(m_.wait_up(), dialed);
  expect_refused_as_connected(crossing.read_next<wire::Welcome>(), raw_welcome("z", hello).session);
}

TEST_F(Names, TheLowerNameTakesTheOtherWhenItsOwnDialFails) {
  for (const bool by_time : {false, true}) {
    const std::string name = by_time ? "za" : "zb";
    const PeerId dialed = m_.dial(server_.address(name));
    auto [ours, hello] = server_.accept_hello();
    RawClient crossing(m_.address());
    ASSERT_TRUE(crossing.send_hello(hello_of(name, 2, 1)));
    m_.settle();
    EXPECT_TRUE(crossing.is_quiet());
    if (by_time) {
      m_.advance_ms(5000);
    } else {
      ours.reset();
    }
    const auto welcome = crossing.read_next<wire::Welcome>();
    ASSERT_TRUE(welcome);
    EXPECT_EQ(welcome->code, StatusCode::kOk) << welcome->text;
    EXPECT_TRUE(m_.wait_dial_failed(dialed));
  }
}

TEST_F(Names, TheHigherNameAcceptsTheOtherAndItsOwnDialJoins) {
  for (const bool is_early : {false, true}) {
    const std::string name = is_early ? "a" : "b";
    const PeerId dialed = m_.dial(server_.address(name));
    auto [ours, hello] = server_.accept_hello();
    RawClient crossing(m_.address());
    const auto accepted = answer_to(crossing, hello_of(name, 2, 1));
    ASSERT_TRUE(accepted);
    ASSERT_EQ(accepted->code, StatusCode::kOk) << accepted->text;
    wire::Welcome refusal = raw_welcome(name, hello);
    refusal.code = StatusCode::kFailedPrecondition;
    refusal.session = accepted->session;
    const size_t before = m_.count_ups();
    if (is_early) {
      ASSERT_TRUE(ours.send(refusal));
      m_.settle();
    }
    ASSERT_TRUE(crossing.send(baton_test::sample_describe()));
    const PeerId peer = m_.wait_up(before);
    ASSERT_TRUE(is_early || ours.send(refusal));
    EXPECT_EQ(m_.wait_joined(dialed), peer);
  }
}

TEST_F(Names, TheHigherNameWaitsForTheWordOfOneWhoAcceptedItsDial) {
  const PeerId dialed = m_.dial(server_.address("a"));
  auto [ours, hello] = server_.accept_hello();
  const wire::Welcome welcome = raw_welcome("a", hello);
  wire::Hello knows = hello_of("a", 2, 2);
  knows.known_session = welcome.session;
  knows.known_boot = hello.boot_id;
  RawClient crossing(m_.address());
  ASSERT_TRUE(crossing.send_hello(knows));
  m_.settle();
  EXPECT_TRUE(crossing.is_quiet());
  accept_as(ours, welcome);
  EXPECT_EQ(m_.wait_up(), dialed);
  expect_refused_as_connected(crossing.read_next<wire::Welcome>(), welcome.session);
}

// The session that it knows is one of a process of our name that is no more: each would wait for
// the other.
TEST_F(Names, TheHigherNameDoesNotWaitForOneWhoKnowsAnotherProcess) {
  m_.dial(server_.address("a"));
  auto [ours, hello] = server_.accept_hello();
  wire::Hello knows = hello_of("a", 2, 2);
  knows.known_session = 4711;
  knows.known_boot = {99};
  RawClient crossing(m_.address());
  const auto welcome = answer_to(crossing, knows);
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->code, StatusCode::kOk) << welcome->text;
}

TEST_F(Names, OfWhoIsHeldNoMoreIsReadUntilItIsDecided) {
  const PeerId dialed = m_.dial(server_.address("z"));
  auto [ours, hello] = server_.accept_hello();
  RawClient crossing(m_.address());
  ASSERT_TRUE(crossing.send_hello(hello_of("z", 2, 1)));
  m_.settle();
  const std::vector<uint8_t> bytes(64 << 10);
  size_t sent = 0;
  for (int full = 0; full < 3;) {
    const ssize_t taken =
        send(crossing.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken > 0) {
      sent += static_cast<size_t>(taken);
      ASSERT_LT(sent, size_t{64} << 20) << "it is read without end";
      continue;
    }
    ++full;
    m_.settle();
  }
  EXPECT_TRUE(crossing.is_open());
  accept_as(ours, raw_welcome("z", hello));
  EXPECT_EQ(m_.wait_up(), dialed);
  expect_refused_as_connected(crossing.read_next<wire::Welcome>(), 1234);
  EXPECT_TRUE(crossing.is_closed_by_peer());
}

TEST_F(Names, WhoIsHeldAndBreaksEndsAtOnce) {
  m_.dial(server_.address("z"));
  auto [ours, hello] = server_.accept_hello();
  RawClient crossing(m_.address());
  ASSERT_TRUE(crossing.send_hello(hello_of("z", 2, 1)));
  m_.settle();
  ASSERT_TRUE(crossing.send_raw(std::vector<uint8_t>(256 << 10)));
  m_.settle();
  crossing.reset();
  EXPECT_TRUE(m_.wait_log("broke while its hello waited"));
}

// Neither those that wait for a decision nor those that were refused and do not leave are kept
// without bound.
TEST_F(Names, OfThoseThatAreNoPeersTheOldestGoes) {
  ControlOptions few = options("few");
  few.limits.max_peers = 3;
  for (const uint8_t boot : {uint8_t{8}, uint8_t{7}}) {  // held for the probe; refused at once
    Endpoint endpoint(few, &clock_);
    RawClient owner(endpoint.address());
    ASSERT_TRUE(owner.become_peer(hello_of("z", 7, 1)));
    ASSERT_TRUE(endpoint.wait_up());
    const size_t fds = baton_test::count_open_fds();
    std::deque<RawClient> others;
    for (size_t i = 1; i <= 6; ++i) {
      others.emplace_back(endpoint.address());
      ASSERT_TRUE(others.back().send_hello(hello_of("z", boot, 1)));
      endpoint.settle();
      EXPECT_EQ(baton_test::count_open_fds(), fds + i + std::min<size_t>(i, 3));
    }
    EXPECT_TRUE(others[2].is_closed_by_peer());
    EXPECT_TRUE(others[5].is_open());
    EXPECT_TRUE(endpoint.wait_log("too many connections that wait or are leaving"));
    EXPECT_FALSE(endpoint.is_down(endpoint.wait_up()));
  }
}

// A restarted peer describes itself at once, while the dialer still probes the old connection.
TEST_F(Names, ALongDescriptionWaitsForTheProbe) {
  auto [owner, old_peer] = raw_peer(hello_of("z", 7, 1));
  const PeerId dialed = m_.dial(server_.address("z"));
  auto [other, hello] = server_.accept_hello();
  ASSERT_TRUE(other.send(raw_welcome("z", hello)));  // of boot 2
  wire::Describe describe = baton_test::sample_describe();
  wire::SectionDescription section = describe.sections.front();
  section.name = std::string(200, 's');
  describe.sections.clear();
  for (uint32_t id = 1; id <= 20'000; ++id) {
    section.id = SectionId(id);
    describe.sections.push_back(section);
  }
  describe.caches.clear();
  ASSERT_GT(wire::encode(describe)->size(), size_t{4} << 20);
  auto sending = std::async(std::launch::async,
                            [&, client = &other] { return client->send(wire::Message(describe)); });
  ASSERT_TRUE(read_probe(owner));
  for (int i = 0; i < 20; ++i) m_.settle();
  EXPECT_FALSE(m_.has_failed(dialed));
  m_.advance_ms(1000);
  expect_status(m_.wait_down(old_peer), StatusCode::kPeerLost, "took its name");
  ASSERT_TRUE(sending.get());
  ASSERT_TRUE(other.read_next<wire::Describe>());
  ASSERT_TRUE(other.send(wire::Confirm{}));
  ASSERT_EQ(m_.wait_up(1), dialed);
  EXPECT_TRUE(m_.wait_for([&] { return m_.ups[1].second.describe == describe; }));
}

TEST_F(Names, RealCrossingDialsMakeOneConnection) {
  for (const bool with_secret : {false, true}) {
    const auto made = [&](const char* name) {
      return with_secret ? secret_options(name) : test_options(name);
    };
    Endpoint one(made("one"));
    Endpoint two(made("two"));
    for (size_t round = 0; round < 60; ++round) {
      const PeerId from_one = one.dial(two.address());
      const PeerId from_two = two.dial(one.address());
      const auto is_decided = [](const Endpoint& end, PeerId dial) {
        return end.joined.contains(dial) ||
               std::any_of(end.ups.begin(), end.ups.end(),
                           [&](const auto& up) { return up.first == dial; });
      };
      ASSERT_TRUE(one.wait_for([&] { return is_decided(one, from_one); })) << round;
      ASSERT_TRUE(two.wait_for([&] { return is_decided(two, from_two); })) << round;
      // One connection a round, the same at both ends.
      const PeerId peer = one.wait_up(round);
      ASSERT_TRUE(peer && two.wait_up(round)) << round;
      EXPECT_EQ(one.count_ups(), round + 1);
      EXPECT_EQ(two.count_ups(), round + 1);
      one.plane().disconnect(peer, Status(StatusCode::kPeerLost, "next round"));
      ASSERT_TRUE(two.wait_for([&] { return two.downs.size() == round + 1; }));
      ASSERT_TRUE(one.wait_for([&] { return one.downs.size() == round + 1; }));
    }
  }
}

}  // namespace
}  // namespace baton::control
