#include "src/handoff/failure_line.h"

#include <gtest/gtest.h>

namespace baton::handoff {
namespace {

TEST(FailureLine, OfAGrant) {
  FailedRequest failed;
  failed.why = Status(StatusCode::kPathLost, "path 2 was lost: reset\nby peer");
  failed.grant = GrantId(12);
  failed.tag = "re\"q\n1\xff";
  failed.peer = PeerId(3);
  failed.peer_name = "prefill-0";
  failed.units = 237;
  failed.total_units = 720;
  failed.fenced_paths = 0b101;
  failed.after_ns = 612'999'999;
  EXPECT_EQ(failure_line(failed),
            "grant failed: code=PATH_LOST grant=12 tag=\"re\\\"q\\x0a1\\xff\" peer=3 "
            "name=\"prefill-0\" units=237/720 fenced=0,2 after_ms=612: path 2 was lost: "
            "reset?by peer");
}

TEST(FailureLine, OfATransfer) {
  FailedRequest failed;
  failed.why = Status(StatusCode::kInDoubt, "no verdict");
  failed.grant = GrantId(12);
  failed.transfer = TransferId(4);
  failed.peer = PeerId(1);
  failed.peer_name = "decode-0";
  EXPECT_EQ(failure_line(failed),
            "transfer failed: code=IN_DOUBT grant=12 transfer=4 tag=\"\" peer=1 "
            "name=\"decode-0\" units=0/0 fenced=none after_ms=0: no verdict");
}

TEST(FailureLine, OfAPath) {
  FencedPath fenced;
  fenced.cause = FenceCause::kNotQuiet;
  fenced.path = 2;
  fenced.transport = "tcp";
  fenced.epoch = PathEpoch(9);
  fenced.peer = PeerId(3);
  fenced.peer_name = "prefill-0";
  fenced.grants = 1;
  fenced.why = Status(StatusCode::kPathLost, "fenced for a request that did not end");
  EXPECT_EQ(fence_line(fenced),
            "path fenced: cause=not_quiet path=2 transport=tcp epoch=9 peer=3 "
            "name=\"prefill-0\" grants=1 transfers=0: fenced for a request that did not end");
}

}  // namespace
}  // namespace baton::handoff
