#include <gtest/gtest.h>

#include <functional>

#include "src/control/control_options.h"
#include "tests/unit/control/endpoint.h"

namespace baton::control {
namespace {

ControlOptions good() { return baton_test::test_options("decode-0"); }

TEST(ControlOptions, DefaultsWithANameAreGood) { EXPECT_TRUE(good().validate().is_ok()); }

TEST(ControlOptions, EachFaultIsNamed) {
  struct Case {
    std::function<void(ControlOptions&)> damage;
    const char* part;
  };
  const Case cases[] = {
      {[](auto& o) { o.name = ""; }, "name \"\" is not 1 to 128"},
      {[](auto& o) { o.name = "a b"; }, "name \"a b\""},
      {[](auto& o) { o.bind_host = "decode.example"; }, "bind_host: \"decode.example\""},
      {[](auto& o) { o.bind_host = "300.0.0.1"; }, "bind_host: \"300.0.0.1\""},
      {[](auto& o) { o.advertise_host = "a b"; }, "advertise_host \"a b\""},
      {[](auto& o) { o.heartbeat_interval_ms = 0; }, "heartbeat_interval_ms is 0"},
      {[](auto& o) { o.dead_after_ms = 1999; }, "dead_after_ms 1999"},
      {[](auto& o) { o.dial_timeout_ms = 0; }, "dial_timeout_ms is 0"},
      {[](auto& o) { o.protocol_min = 0; }, "protocol versions 0 to 2"},
      {[](auto& o) { o.protocol_min = 3; }, "protocol versions 3 to 2"},
      {[](auto& o) { o.required_features = 1; }, "required_features"},
      {[](auto& o) { o.limits.max_half_open = 0; }, "a limit is 0"},
      {[](auto& o) { o.limits.max_peers = 0; }, "a limit is 0"},
      {[](auto& o) { o.limits.hello_timeout_ms = 0; }, "a limit is 0"},
      {[](auto& o) { o.limits.probe_timeout_ms = 0; }, "a limit is 0"},
      {[](auto& o) { o.limits.send_queue_bytes = 0; }, "a limit is 0"},
  };
  for (const Case& one : cases) {
    ControlOptions options = good();
    one.damage(options);
    const Status status = options.validate();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << one.part;
    EXPECT_NE(status.message().find(one.part), std::string::npos) << status.to_string();
  }
}

TEST(ControlOptions, BeyondLoopbackWantsASecretOrASayingSo) {
  for (const char* host : {"0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"}) {
    ControlOptions options = good();
    options.bind_host = host;
    const Status status = options.validate();
    EXPECT_EQ(status.code(), StatusCode::kPermissionDenied) << host;
    EXPECT_NE(status.message().find(host), std::string::npos) << status.to_string();
    EXPECT_NE(status.message().find("allow_unauthenticated"), std::string::npos);
    options.allow_unauthenticated = true;
    EXPECT_TRUE(options.validate().is_ok()) << host;
    options.allow_unauthenticated = false;
    options.secret = baton_test::test_secret(1);
    EXPECT_TRUE(options.validate().is_ok()) << host;
  }
  for (const char* host : {"127.0.0.1", "127.9.9.9", "::1", "localhost"}) {
    ControlOptions options = good();
    options.bind_host = host;
    EXPECT_TRUE(options.validate().is_ok()) << host;
  }
}

TEST(ControlOptions, TheAdvertisedHostMayDiffer) {
  ControlOptions options = good();
  options.advertise_host = "decode-0.cluster.example";
  baton_test::Endpoint endpoint(options);
  ASSERT_TRUE(endpoint.started().is_ok());
  EXPECT_EQ(endpoint.address().find("baton://decode-0.cluster.example:"), 0u) << endpoint.address();
  options.advertise_host = "2001:db8::7";
  baton_test::Endpoint v6(options);
  EXPECT_EQ(v6.address().find("baton://[2001:db8::7]:"), 0u) << v6.address();
}

}  // namespace
}  // namespace baton::control
