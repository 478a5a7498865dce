#include "src/api/environment.h"

#include <gtest/gtest.h>

#include "baton/plugin/loopback.h"
#include "src/api/context_impl.h"

namespace baton::api {
namespace {

constexpr int64_t kMsNs = 1'000'000;

// Control connections that reach nobody.
class NoControl final : public control::ControlInterface {
 public:
  Status begin() override { return Status::ok(); }
  const std::string& address() const override { return address_; }
  const BootId& boot_id() const override { return boot_id_; }
  Result<PeerId> dial(std::string_view) override { return PeerId(++dialed_); }
  Status send(PeerId, const wire::Message&) override { return Status::ok(); }
  size_t unsent_bytes(PeerId) const override { return 0; }
  Status broadcast(const wire::Message&) override { return Status::ok(); }
  void disconnect(PeerId, const Status&) override {}
  void abandon_dial(PeerId, const Status&) override {}
  Result<wire::StreamTicket> expect_stream(PeerId, PathEpoch) override {
    return Status(StatusCode::kNotFound, "no peers");
  }
  void open_stream(PeerId, PathEpoch, const wire::StreamTicket&) override {}
  void set_alarm(int64_t) override {}
  void stop() override {}

 private:
  const std::string address_ = "baton://nowhere:1/alone";
  const BootId boot_id_{};
  uint32_t dialed_ = 0;
};

TEST(Environment, ABlockingCallTakesItsTimeFromTheClockGiven) {
  auto clock = std::make_shared<base::ManualClock>(7);
  Environment environment;
  environment.clock = clock;
  environment.random = [] { return uint64_t{0xabcdef}; };
  environment.make_control =
      [](control::ControlOptions options, control::ControlHandler*, base::Logger&,
         base::Clock&) -> Result<std::unique_ptr<control::ControlInterface>> {
    EXPECT_NE(options.name.find("-abcdef"), std::string::npos) << options.name;
    return std::unique_ptr<control::ControlInterface>(new NoControl);
  };
  environment.sleep = [&](int64_t until_ns) {
    ASSERT_GT(until_ns, clock->now_ns());
    clock->advance_ns(until_ns - clock->now_ns());
  };
  baton_loopback_fabric* fabric = baton_loopback_fabric_create(nullptr);
  ContextOptions options;
  options.rails[0].plugin = "loopback";
  options.rails[0].in_process = fabric;
  options.progress = ProgressMode::kCaller;
  auto impl = ContextImpl::create(options, environment);
  ASSERT_TRUE(impl.is_ok()) << impl.status().to_string();
  {
    Context context = ContextImpl::as_context(std::move(*impl));
    EXPECT_EQ(context.address(), "baton://nowhere:1/alone");
    // An hour, in no time.
    EXPECT_EQ(context.connect("baton://nowhere:1/other", 3'600'000).code(),
              StatusCode::kDeadlineExceeded);
    EXPECT_EQ(clock->now_ns(), 7 + 3'600'000 * kMsNs);
    EXPECT_EQ(context.wait_offer("tag", 10).code(), StatusCode::kDeadlineExceeded);
    EXPECT_EQ(clock->now_ns(), 7 + 3'600'010 * kMsNs);
  }
  baton_loopback_fabric_destroy(fabric);
}

}  // namespace
}  // namespace baton::api
