// What a peer can make an Engine keep has a bound.
#include <gtest/gtest.h>

#include "tests/unit/handoff/engine_pair.h"

namespace baton_test {
namespace {

using baton::StatusCode;
using baton::handoff::Inbox;
using baton::wire::Cancel;
using baton::wire::GrantEnd;
using baton::wire::GrantEndAck;
using baton::wire::Quiesced;

TEST(EngineBounds, AWriterThatAcknowledgesNoVerdictIsDropped) {
  EnginePair pair;
  EngineSide& receiver = pair.receiver();
  const auto end_one = [&] {
    const auto grant = pair.make_range_grant();
    ASSERT_TRUE(receiver.engine().submit(baton::handoff::OpenGrant{grant}).is_ok());
    receiver.receive(Cancel{grant->id, StatusCode::kCancelled, "no"});
    receiver.receive(Quiesced{grant->id, {}});
    ASSERT_TRUE(grant->life.is_terminal());
  };
  for (size_t i = 0; i < Inbox::kMaxMessages; ++i) {
    end_one();
    receiver.outbox.clear();
  }
  EXPECT_TRUE(receiver.dropped.is_ok()) << receiver.dropped.to_string();
  receiver.receive(GrantEndAck{baton::GrantId(101)});  // the first
  end_one();
  EXPECT_TRUE(receiver.dropped.is_ok()) << receiver.dropped.to_string();
  end_one();
  EXPECT_EQ(receiver.dropped.code(), StatusCode::kExhausted) << receiver.dropped.to_string();
}

TEST(EngineBounds, ACancelThatIsRepeatedIsAnsweredOnce) {
  EnginePair pair;
  EngineSide& writer = pair.writer();
  const auto grant = pair.make_range_grant();
  pair.open(grant);
  pair.deliver<baton::wire::GrantOffer>(pair.receiver());
  const auto write = pair.make_write(*grant);
  pair.open(write);
  ASSERT_FALSE(write->life.is_terminal()) << "the cancels below have to find it under way";
  for (int i = 0; i < 100; ++i) writer.receive(Cancel{grant->id, StatusCode::kCancelled, "stop"});
  pair.turns();
  ASSERT_TRUE(write->life.is_terminal());
  EXPECT_EQ(EnginePair::waiting(writer), std::vector<std::string>{"Quiesced"});
  pair.settle();
}

}  // namespace
}  // namespace baton_test
