// A decode side that asks for a pull, is offered it, and gives it up without taking the offer: the
// prefill process does not hold its pages until the deadline.
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "examples/reference_engine/engine_messages.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_options.h"
#include "tests/engine_program/tool.h"
#include "tests/support/wait_until.h"

namespace {

using namespace baton_engine;
using baton_test::kEngine;

constexpr uint64_t kSession = 7;
constexpr uint32_t kTokens = 48;

// A decode side of one rank, which the test drives message by message.
class WithdrawnPull : public testing::TestWithParam<uint32_t> {
 protected:
  WithdrawnPull()
      : prefill_(kEngine, {"prefill", "--model", "tiny:7", "--chunk-tokens", "16", "--deadline-ms",
                           "3600000", "--prefill-tp", std::to_string(GetParam()), "--pool-tokens",
                           std::to_string(kTokens), "--quiet", "--errors-only"}) {
    options_.mode = EngineMode::kDecode;
    options_.model = "tiny:7";
    options_.chunk_tokens = 16;
    options_.quiet = options_.errors_only = true;
    Progress progress("test", true);
    auto node = EngineNode::create(options_, progress);
    EXPECT_TRUE(node.is_ok()) << node.status().to_string();
    node_ = std::move(*node);
    pool_ = std::make_unique<KvPool>(
        node_->make_pool({16, kTokens / 16, true, kAllParts, KvOrder::kHnd}).value());
    const IndexRange heads = kv_heads_of(node_->model().config(), kAllParts);
    const auto opened =
        node_->open_context(options_.context_options("decode"), *pool_, heads, heads);
    EXPECT_TRUE(opened.is_ok()) << opened.to_string();
  }
  ~WithdrawnPull() override { node_->close_context(); }

  // Connects to all prefill ranks, and says to each who reads.
  void connect() {
    const auto address = prefill_.read_line();
    ASSERT_TRUE(address.has_value());
    leader_ = context().connect(*address).value();
    const std::string mine = node_->fingerprint();
    send(kHelloTag, {mine.begin(), mine.end()});
    const auto reply = decode_hello_reply(receive(kHelloReplyTag));
    ASSERT_TRUE(reply.is_ok()) << reply.status().to_string();
    ASSERT_EQ(reply->rank_addresses.size(), GetParam());
    for (size_t rank = 0; rank < reply->rank_addresses.size(); ++rank) {
      const auto peer =
          rank == 0 ? leader_ : context().connect(reply->rank_addresses[rank]).value();
      const auto name = encode(ReaderName{kSession, 0});
      ASSERT_TRUE(context().send_message(peer, kReaderTag, name).is_ok());
    }
  }
  void ask(uint64_t id) {
    PrefillRequest request;
    request.id = id;
    request.hand_off = HandOff::kPull;
    request.tokens.assign(kTokens, 65);
    request.session = kSession;
    send(kRequestTag, encode(request));
  }
  void send(uint64_t tag, const std::vector<uint8_t>& bytes) {
    const auto sent = context().send_message(leader_, tag, bytes);
    ASSERT_TRUE(sent.is_ok()) << sent.to_string();
  }
  std::vector<uint8_t> receive(uint64_t tag) {
    std::optional<std::vector<uint8_t>> bytes;
    EXPECT_TRUE(baton_test::wait_until([&] {
      const auto event = context().wait_event(20);
      if (event.is_ok() && event->kind == baton::EventKind::kMessage && event->tag_number == tag) {
        bytes = event->message;
      }
      return bytes.has_value();
    }));
    return bytes.value_or(std::vector<uint8_t>{});
  }
  baton::Context& context() { return node_->context(); }

  EngineOptions options_;
  std::unique_ptr<EngineNode> node_;
  std::unique_ptr<KvPool> pool_;
  baton_test::ChildProcess prefill_;
  baton::PeerId leader_;
};

// Its pool has room for one request, so the second is a proof that the pages came back.
TEST_P(WithdrawnPull, GivesItsPagesBack) {
  connect();
  for (uint64_t id = 1; id <= 2; ++id) {
    ask(id);
    const auto offer = context().wait_offer(grant_tag(kSession, id, 0), 20'000);
    ASSERT_TRUE(offer.is_ok()) << offer.status().to_string();
    EXPECT_TRUE(offer->is_read);
    send(kWithdrawTag, encode_withdrawal(id));
    const auto record = decode_record(receive(kRecordTag));
    ASSERT_TRUE(record.is_ok()) << record.status().to_string();
    EXPECT_EQ(record->id, id);
    EXPECT_EQ(record->status.code(), baton::StatusCode::kCancelled) << record->status.to_string();
  }
  // Nobody read anything.
  const std::vector<uint32_t> blocks = {0, 1, 2};
  EXPECT_EQ(pool_->count_written_bytes(blocks), 0U);
}

INSTANTIATE_TEST_SUITE_P(PrefillRanks, WithdrawnPull, testing::Values(1U, 3U),
                         testing::PrintToStringParamName());

}  // namespace
