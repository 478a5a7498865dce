// The parameterised test of which every case of the suite is one.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "tests/conformance/connection.h"

namespace baton_conformance {

class Conformance : public ::testing::TestWithParam<Fixture> {
 protected:
  void SetUp() override {
    connection_ = std::make_unique<Connection>(GetParam());
    if (!connection_->usable()) GTEST_SKIP() << connection_->skip_reason();
  }
  // As SetUp left it, once more.
  void reconnect() {
    connection_.reset();
    connection_ = std::make_unique<Connection>(GetParam());
  }
  Connection& link() { return *connection_; }
  End& a() { return connection_->a; }
  End& b() { return connection_->b; }
  // Every op of both ends' first path was reported.
  bool settled() {
    return a().log().reported == a().log().ops.size() && b().log().reported == b().log().ops.size();
  }

  std::unique_ptr<Connection> connection_;
};

inline std::string fixture_name(const ::testing::TestParamInfo<Fixture>& tested) {
  return tested.param.name;
}

}  // namespace baton_conformance

#define BATON_CONFORMANCE_SUITE(Suite)                                                           \
  INSTANTIATE_TEST_SUITE_P(All, Suite, ::testing::ValuesIn(::baton_conformance::all_fixtures()), \
                           ::baton_conformance::fixture_name)
