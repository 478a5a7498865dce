#include "perf/lib/verify.h"

#include <gtest/gtest.h>

#include <cstring>

namespace baton_perf {
namespace {

constexpr uint64_t kSeed = 42;

class VerifyTest : public testing::Test {
 protected:
  void SetUp() override {
    prepare_source(source_, kSeed);
    prepare_target(target_);
    for (uint64_t b = 0; b < batches_to_verify(places_); ++b) copy_batch(b);
  }

  void copy_batch(uint64_t batch) {
    for (const Place& place : places_.batch(batch)) {
      std::memcpy(target_.bytes().data() + place.target_offset_bytes,
                  source_.bytes().data() + place.source_offset_bytes, 100);
    }
  }
  std::string failure() { return verify_target(target_, places_, kSeed).status().message(); }

  Places places_ = *Places::create(
      {.run_bytes = 100, .runs_per_batch = 8, .footprint_bytes = 10050, .seed = 7}, 1);
  Buffer source_ = Buffer::create(10050).value();
  Buffer target_ = Buffer::create(10050).value();
};

TEST_F(VerifyTest, CountsTheBytesOfAGoodPass) {
  const auto compared = verify_target(target_, places_, kSeed);
  ASSERT_TRUE(compared.is_ok()) << compared.status().to_string();
  EXPECT_EQ(*compared, batches_to_verify(places_) * 800);
}

TEST_F(VerifyTest, EveryWrongByteFails) {
  for (uint64_t i = 0; i < target_.bytes().size(); ++i) {
    target_.bytes()[i] ^= 0x10;
    const std::string message = failure();
    EXPECT_NE(message.find("target offset " + std::to_string(i) + " "), std::string::npos)
        << i << message;
    target_.bytes()[i] ^= 0x10;
  }
}

TEST_F(VerifyTest, ABatchTooManyFails) {
  copy_batch(batches_to_verify(places_));
  EXPECT_NE(failure().find("where no run was to be placed"), std::string::npos) << failure();
}

TEST_F(VerifyTest, AWriteBeforeTheBufferFails) {
  target_.bytes().data()[-1] = 0;
  EXPECT_NE(failure().find("guard byte 1 before"), std::string::npos) << failure();
}

TEST_F(VerifyTest, TheWrongSourceFails) {
  EXPECT_FALSE(verify_target(target_, places_, kSeed + 1).is_ok());
}

}  // namespace
}  // namespace baton_perf
