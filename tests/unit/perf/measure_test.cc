#include "perf/lib/measure.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>

namespace baton_perf {
namespace {

// Finishes batches in the order of submission, and notes what it was asked.
class FakeSubject final : public Subject {
 public:
  FakeSubject(std::string name, std::string* order) : name_(std::move(name)), order_(order) {}

  std::string_view name() const override { return name_; }
  baton::Status submit(uint64_t index) override {
    if (index == fail_at) return {baton::StatusCode::kPeerLost, "gone"};
    outstanding_.push_back(index);
    ++submitted;
    most_outstanding = std::max(most_outstanding, outstanding_.size());
    if (order_ != nullptr) order_->append(name_);
    return baton::Status::ok();
  }
  baton::Result<uint64_t> wait_one() override {
    const uint64_t index = outstanding_.front();
    outstanding_.pop_front();
    return index + wrong_by;
  }

  uint64_t submitted = 0;
  size_t most_outstanding = 0;
  uint64_t fail_at = UINT64_MAX;
  uint64_t wrong_by = 0;

 private:
  std::string name_;
  std::string* order_;
  std::deque<uint64_t> outstanding_;
};

TEST(MeasureTest, MovesAtLeastOneBatchAndWaitsForAll) {
  FakeSubject subject("a", nullptr);
  uint64_t next = 7;
  const auto sample = measure(subject, {.in_flight = 3, .seconds = 0, .batch_bytes = 10}, next);
  ASSERT_TRUE(sample.is_ok());
  EXPECT_GE(sample->batches, 1u);
  EXPECT_EQ(sample->batches, subject.submitted);
  EXPECT_EQ(sample->bytes, 10 * sample->batches);
  EXPECT_EQ(sample->latency_ns.count(), sample->batches);
  EXPECT_EQ(next, 7 + sample->batches);
}

TEST(MeasureTest, KeepsTheBatchesInFlight) {
  FakeSubject subject("a", nullptr);
  uint64_t next = 0;
  ASSERT_TRUE(measure(subject, {.in_flight = 4, .seconds = 0.005, .batch_bytes = 1}, next).is_ok());
  EXPECT_EQ(subject.most_outstanding, 4u);
}

TEST(MeasureTest, ABatchThatWasNotOutstandingIsAnError) {
  FakeSubject subject("a", nullptr);
  subject.wrong_by = 1;
  uint64_t next = 0;
  EXPECT_EQ(measure(subject, {.batch_bytes = 1}, next).code(), baton::StatusCode::kInternal);
}

TEST(MeasureTest, RoundsOfTheSubjectsTakeTurns) {
  std::string order;
  FakeSubject a("a", &order), b("b", &order);
  Subject* subjects[] = {&a, &b};
  InterleavedOptions options;
  options.load = {.in_flight = 1, .seconds = 0, .batch_bytes = 1000, .runs_per_batch = 10};
  options.rounds = 3;
  options.warm_up_s = 0;
  CpuSeconds cpu;
  options.cpu_seconds = [&] {
    cpu.local += 1;
    cpu.remote += 2;
    return baton::Result<CpuSeconds>(cpu);
  };
  const auto summaries = measure_interleaved(subjects, options);
  ASSERT_TRUE(summaries.is_ok());
  ASSERT_EQ(summaries->size(), 2u);
  // One batch a round: two of warm-up, then three rounds.
  EXPECT_EQ(order, "abababab");
  const Summary& first = summaries->front();
  EXPECT_EQ(first.name, "a");
  EXPECT_EQ(first.rounds_gb_per_s.size(), 3u);
  EXPECT_EQ(first.latency_ns.count(), 3u);
  EXPECT_DOUBLE_EQ(first.cpu_s_per_gb_local, 3 / (3000 / 1e9));
  EXPECT_DOUBLE_EQ(first.cpu_s_per_gb_remote, 6 / (3000 / 1e9));
}

TEST(MeasureTest, TheFirstFailureEndsIt) {
  FakeSubject a("a", nullptr);
  a.fail_at = 2;
  Subject* subjects[] = {&a};
  InterleavedOptions options;
  options.load = {.in_flight = 1, .seconds = 0, .batch_bytes = 1, .runs_per_batch = 1};
  options.warm_up_s = 0;
  options.cpu_seconds = [] { return baton::Result<CpuSeconds>(CpuSeconds{}); };
  EXPECT_EQ(measure_interleaved(subjects, options).code(), baton::StatusCode::kPeerLost);
}

TEST(MeasureTest, MoveBatchesMovesTheFirstOnes) {
  FakeSubject subject("a", nullptr);
  ASSERT_TRUE(move_batches(subject, 3, 10).is_ok());
  EXPECT_EQ(subject.submitted, 10u);
  EXPECT_EQ(subject.most_outstanding, 3u);
}

TEST(MeasureTest, Median) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
}

}  // namespace
}  // namespace baton_perf
