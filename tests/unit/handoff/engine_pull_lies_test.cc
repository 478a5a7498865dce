// Pulled hand-offs: what a side does when the other lies.
#include <gtest/gtest.h>

#include "tests/unit/handoff/engine_pull_rig.h"

namespace baton_test {
namespace {

using baton::State;
using baton::StatusCode;
using baton::wire::ReadDone;
using baton::wire::ReadStart;

TEST(EnginePull, ASettleIsAProtocolError) {
  EnginePair pair;
  pair.start_pull();
  const baton::wire::Settle lie{pair.grant->id, 1, {{0, pair.grant->layers[0].generation, 16}}};
  pair.receiver().receive(lie);
  EXPECT_EQ(pair.receiver().dropped.code(), StatusCode::kProtocolError);
  pair.cancel_grant();
  settle(pair);
}

TEST(EnginePull, AReaderThatIsDoneTooEarlyIsDropped) {
  EnginePair pair;
  pair.start_pull();
  pair.writer().receive(ReadDone{pair.grant->id, StatusCode::kOk, 8, ""});
  EXPECT_EQ(pair.writer().dropped.code(), StatusCode::kProtocolError);
  EXPECT_EQ(pair.transfer->life.state(), State::kActive);
  pair.cancel_grant();
  settle(pair);
}

TEST(EnginePull, AReaderThatMiscountsIsDropped) {
  EnginePair pair;
  pair.start_pull();
  pair.seal();
  pair.turns();
  pair.writer().receive(ReadDone{pair.grant->id, StatusCode::kOk, 7, ""});
  EXPECT_EQ(pair.writer().dropped.code(), StatusCode::kProtocolError);
  settle(pair);
}

TEST(EnginePull, AStartThatCountsOtherTokensIsDropped) {
  for (const bool twice : {false, true}) {
    EnginePair pair;
    pair.start_pull();
    ReadStart start;
    start.grant = pair.grant->id;
    start.slots.resize(EnginePair::kLayers);
    start.units_per_slot.assign(EnginePair::kLayers, twice ? 16 : 15);
    pair.writer().receive(start);
    EXPECT_EQ(pair.writer().dropped.code(), StatusCode::kProtocolError) << twice;
    pair.cancel_grant();
    settle(pair);
  }
}

TEST(EnginePull, AWriteUnderAReadGrantIsAViolation) {
  EnginePair pair;
  pair.start_pull();
  // The reader writes into the source's memory, as if it had been granted that.
  auto resolved = [&](baton_access access, uint64_t offset) {
    return pair.writer().resolve(pair.grant->id, offset, 1, access);
  };
  EXPECT_NE(resolved(BATON_ACCESS_READ, 0).address, nullptr);
  EXPECT_EQ(resolved(BATON_ACCESS_WRITE, 0).address, nullptr);
  EXPECT_EQ(resolved(BATON_ACCESS_WRITE, 0).ended, 0u);
  EXPECT_EQ(resolved(BATON_ACCESS_READ, pair.writer().memory().size()).address, nullptr);
  pair.cancel_transfer();
  EXPECT_EQ(resolved(BATON_ACCESS_READ, 0).address, nullptr);
  EXPECT_EQ(resolved(BATON_ACCESS_READ, 0).ended, 1u);
  settle(pair);
}

}  // namespace
}  // namespace baton_test
