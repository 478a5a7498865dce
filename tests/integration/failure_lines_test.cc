// The lines that a failure in the middle leaves in the log: a process that is killed while it sends
// or receives, pushed and pulled, and one writer of a group.
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <regex>

#include "tests/integration/process_rig.h"
#include "tests/support/child_process.h"
#include "tests/support/test_main.h"
#include "tests/support/wait_until.h"

namespace baton_test {
namespace {

using baton::StatusCode;

// What a Context logs, from warnings on.
class Lines {
 public:
  baton::ContextOptions options(const std::string& name) {
    baton::ContextOptions out = process_options(name);
    out.log_level = baton::LogLevel::kWarning;
    out.log_callback = [this](baton::LogLevel, std::string_view message) {
      const std::lock_guard lock(mutex_);
      lines_.emplace_back(message);
    };
    return out;
  }
  // Of each line that begins with a match of `pattern`: its groups.
  std::vector<std::vector<std::string>> matches(const std::string& pattern) {
    const std::lock_guard lock(mutex_);
    const std::regex regex(pattern);
    std::vector<std::vector<std::string>> out;
    for (const std::string& line : lines_) {
      std::smatch match;
      if (std::regex_search(line, match, regex, std::regex_constants::match_continuous))
        out.emplace_back(match.begin(), match.end());
    }
    return out;
  }
  std::string all() {
    const std::lock_guard lock(mutex_);
    std::string out;
    for (const std::string& line : lines_) out += line + "\n";
    return out;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

class FailureLines : public testing::Test {
 protected:
  FailureLines()
      : context_(require(baton::Context::create(lines_.options("parent")), "create")),
        pool_(big_shape()) {
    pool_.memory().fill_pattern(kOriginal);
    pool_.publish(context_, "kv");
  }

  // Exactly one line of the request, which names the peer, how far it had come, and the Path that
  // went with the peer; and one of that Path. A ReadGrant's side does not count.
  void expect_lines(const std::string& begin, baton::GrantId grant, const std::string& name,
                    const std::string& requests, bool is_counted = true) {
    ASSERT_TRUE(wait_until([&] {
      return !lines_.matches("path fenced: ").empty() && !lines_.matches(".* failed: ").empty();
    })) << lines_.all();
    const auto failed = lines_.matches(begin + " grant=" + std::to_string(grant.value) +
                                       ".* tag=\"r\" peer=1 name=\"" + name +
                                       "\" units=(\\d+)/(\\d+) fenced=0 after_ms=\\d+: .+");
    ASSERT_EQ(failed.size(), 1u) << lines_.all();
    EXPECT_EQ(lines_.matches(".* failed: ").size(), 1u) << lines_.all();
    units_ = std::stoull(failed[0][1]);
    EXPECT_EQ(units_ > 0, is_counted) << lines_.all();
    EXPECT_LT(units_, std::stoull(failed[0][2])) << lines_.all();
    EXPECT_EQ(
        lines_
            .matches("path fenced: cause=peer_lost path=0 transport=tcp epoch=1 peer=1 name=\"" +
                     name + "\" " + requests + ": .+")
            .size(),
        1u)
        << lines_.all();
  }

  Lines lines_;
  baton::Context context_;
  Pool pool_;
  uint64_t units_ = 0;  // as the line says
};

TEST_F(FailureLines, OfAGrantWhoseWriterIsKilled) {
  auto child = ChildProcess::self({"--role=prefill"});
  const auto address = child.read_line_after("ADDRESS ").value_or("");
  const auto peer = require(context_.connect(address, 20000), "connect");
  auto grant = require(context_.grant(grant_request(peer, pool_.cache(), 60000)), "grant");
  ASSERT_TRUE(child.write_line("push 8"));
  ASSERT_TRUE(grant.gate(7).wait(20000).is_ok());
  child.kill();
  EXPECT_EQ(grant.wait(20000).code(), StatusCode::kPeerLost);
  expect_lines("grant failed: code=PEER_LOST", grant.id(), "child-prefill", "grants=1 transfers=0");
  EXPECT_EQ(units_, grant.record().units);
}

TEST_F(FailureLines, OfAPullWhoseSourceIsKilled) {
  auto child = ChildProcess::self({"--role=prefill"});
  const auto address = child.read_line_after("ADDRESS ").value_or("");
  require(context_.connect(address, 20000), "connect");
  ASSERT_TRUE(child.write_line("offer 60000 8"));
  auto pull = start_pull(context_, pool_);
  ASSERT_TRUE(pull.gate(7).wait(20000).is_ok());
  child.kill();
  EXPECT_EQ(pull.wait(20000).code(), StatusCode::kPeerLost);
  expect_lines("transfer failed: code=PEER_LOST", pull.grant(), "child-prefill",
               "grants=1 transfers=0");
  EXPECT_EQ(units_, pull.record().units);
}

class FailureLinesOfSources : public FailureLines {
 protected:
  FailureLinesOfSources()
      : child_(ChildProcess::self({"--role=decode"})),
        word_(require(context_.create_progress_word(), "create_progress_word")) {
    EXPECT_TRUE(child_.write_line("connect " + context_.address()));
    EXPECT_TRUE(child_.read_line_after("CONNECTED").has_value());
    EXPECT_TRUE(wait_until([&] { return !context_.peers().empty(); }));
  }
  void feed_and_kill(SourceEnd& end) {
    require_ok(end.submit_chunk({kTokens, &word_, 0}), "submit_chunk");
    require_ok(word_.advance_to(8), "advance_to");
    ASSERT_TRUE(child_.read_line_after("FIRST").has_value());
    child_.kill();
    EXPECT_FALSE(end.wait(20000).is_ok());
  }

  ChildProcess child_;
  baton::ProgressWord word_;
};

TEST_F(FailureLinesOfSources, OfATransferWhoseReceiverIsKilled) {
  ASSERT_TRUE(child_.write_line("grant 60000 " + context_.address()));
  const auto offer = require(context_.wait_offer("r", 20000), "wait_offer");
  SourceEnd end(require(context_.push({offer.id, pool_.cache(), {blocks(1)}, 0}), "push"));
  feed_and_kill(end);
  expect_lines("transfer failed: code=IN_DOUBT", offer.id, "child-decode", "grants=0 transfers=1");
}

TEST_F(FailureLinesOfSources, OfAReadGrantWhoseReaderIsKilled) {
  auto grant =
      require(context_.offer_read(read_request(context_.peers().front(), pool_.cache(), 60000)),
              "offer_read");
  const auto id = grant.id();
  ASSERT_TRUE(child_.write_line("pull " + context_.address()));
  SourceEnd end(std::move(grant));
  feed_and_kill(end);
  expect_lines("grant failed: code=PEER_LOST", id, "child-decode", "grants=0 transfers=1", false);
}

// Each Grant of the group has its line, by the code that it ended with.
TEST(FailureLinesOfAGroup, NameEachWriterOfWhichOneFailed) {
  Lines lines;
  auto options = lines.options("decode");
  options.log_level = baton::LogLevel::kInfo;
  auto decode = require(baton::Context::create(options), "create");
  Pool target{PoolShape()};
  target.publish(decode, "kv");
  std::vector<baton::Context> writers;
  std::vector<std::unique_ptr<Pool>> pools;
  baton::GrantGroupRequest request;
  request.cache = target.cache();
  request.tag = "r";
  request.tokens = {0, 256};
  request.block_lists = {pick_blocks(16, 32, 1)};
  for (uint32_t i = 0; i < 2; ++i) {
    const std::string name = "writer-" + std::to_string(i);
    writers.push_back(require(baton::Context::create(quiet_options(name)), "create"));
    pools.push_back(std::make_unique<Pool>(PoolShape()));
    pools.back()->publish(writers.back(), "kv");
    const auto peer = require(decode.connect(writers.back().address(), 20000), "connect");
    request.writers.push_back({peer, "kv", {}, {{2 * i, i == 0 ? 2u : 1u}}});
  }
  auto group = require(decode.grant_group(request), "grant_group");
  std::vector<uint64_t> ids;
  for (uint32_t i = 0; i < 2; ++i) {
    require(writers[i].wait_offer("r", 20000), "wait_offer");
    ids.push_back(group.grant(i)->id().value);
  }
  require_ok(decode.disconnect(request.writers[1].peer), "disconnect");
  EXPECT_EQ(group.wait(20000).code(), StatusCode::kPeerLost);
  const std::string first = "grant failed: code=CANCELLED grant=" + std::to_string(ids[0]) +
                            " tag=\"r\" peer=1 name=\"writer-0\" units=0/";
  const std::string second = "grant failed: code=PEER_LOST grant=" + std::to_string(ids[1]) +
                             " tag=\"r\" peer=2 name=\"writer-1\" units=0/";
  EXPECT_TRUE(wait_until([&] { return lines.matches(first).size() == 1; })) << lines.all();
  EXPECT_TRUE(wait_until([&] { return lines.matches(second).size() == 1; })) << lines.all();
  EXPECT_EQ(lines.matches(second + "\\d+ fenced=0 ").size(), 1u) << lines.all();
}

}  // namespace
}  // namespace baton_test

int main(int argc, char** argv) {
  if (const auto status = baton_test::run_child_role(argc, argv)) return *status;
  return baton_test::run_all_tests(argc, argv);
}
