#include "tests/integration/proxy_rig.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <thread>

#include "tests/support/test_seed.h"
#include "tests/support/wait_until.h"

namespace baton_test {

using baton::EventKind;
using baton::Status;

PoolShape ProxyRig::shape() {
  PoolShape shape;
  shape.layers = 8;
  shape.heads = 2;
  shape.head_elements = 64;
  shape.num_blocks = 64;
  return shape;
}

ProxyRig::ProxyRig(const ProxyRigOptions& options) : options_(options) {
  const auto make = [&](const std::string& name) {
    baton::ContextOptions context = quiet_options(name);
    context.log_level = baton::LogLevel::kOff;
    context.heartbeat_interval_ms = options.heartbeat_interval_ms;
    context.peer_dead_after_ms = options.peer_dead_after_ms;
    context.rails[0].paths = options.paths;
    return std::make_unique<baton::Context>(require(baton::Context::create(context), "create"));
  };
  prefill_ = make("prefill");
  decode_ = make("decode");
  source_ = std::make_unique<Pool>(shape());
  target_ = std::make_unique<Pool>(shape());
  source_->publish(*prefill_, "kv");
  target_->publish(*decode_, "kv");
  proxy_ = std::make_unique<TcpProxy>(acceptor().address());
  blocks_ = pick_blocks(40, 64, test_seed());
  fill_source();
  expected_ =
      expected_target(*source_, blocks_, *target_, blocks_, kTokens, source_->memory().data());
}

TcpProxy::Way ProxyRig::to_decode() const {
  return options_.decode_dials ? TcpProxy::Way::kToDialer : TcpProxy::Way::kToAcceptor;
}

TcpProxy::Way ProxyRig::to_prefill() const {
  return options_.decode_dials ? TcpProxy::Way::kToAcceptor : TcpProxy::Way::kToDialer;
}

void ProxyRig::fill_source() { source_->memory().fill_pattern(test_seed()); }

Status ProxyRig::try_connect() {
  control_ = {TcpProxy::Kind::kControl, proxy_->count(TcpProxy::Kind::kControl)};
  data_.resize(options_.paths);
  std::iota(data_.begin(), data_.end(), proxy_->count(TcpProxy::Kind::kData));
  const auto peer = dialer().connect(proxy_->address_of(acceptor().address()), 20000);
  if (!peer.is_ok()) return peer.status();
  // The acceptor's side comes up by its own.
  EXPECT_TRUE(wait_until([&] { return !acceptor().peers().empty(); }));
  const auto of_decode = decode_->peers();
  if (!of_decode.empty()) prefill_peer_ = of_decode.front();
  const auto of_prefill = prefill_->peers();
  if (!of_prefill.empty()) decode_peer_ = of_prefill.front();
  for (const uint32_t ordinal : data_) {
    EXPECT_TRUE(wait_until([&] { return is_open(ordinal); })) << "data socket " << ordinal;
  }
  return Status::ok();
}

// The acceptor's answer has passed: the last that is said before frames.
bool ProxyRig::is_open(uint32_t ordinal) const {
  return proxy_->forwarded({TcpProxy::Kind::kData, ordinal}, TcpProxy::Way::kToDialer) >= 40;
}

bool ProxyRig::wait_reopened(uint32_t path, uint32_t lost) {
  const uint32_t next = *std::max_element(data_.begin(), data_.end()) + 1 + lost;
  data_[path] = next;
  return wait_until([&] { return is_open(next); });
}

void ProxyRig::connect() {
  fill_source();
  require_ok(try_connect(), "connect through the proxy");
}

bool ProxyRig::wait_disconnected() {
  return wait_until([&] { return prefill_->peers().empty() && decode_->peers().empty(); });
}

HandOff ProxyRig::start(uint32_t layers, uint32_t deadline_ms) {
  const HandOffSide source{prefill_.get(), decode_peer_, source_.get(), blocks_};
  const HandOffSide target{decode_.get(), prefill_peer_, target_.get(), blocks_};
  HandOffOptions request;
  request.by = options_.by;
  request.tag = "r" + std::to_string(handoffs_++);
  request.tokens = kTokens;
  request.deadline_ms = deadline_ms;
  HandOff handoff = HandOff::make(source, target, request);
  handoff.submit(layers);
  return handoff;
}

void ProxyRig::check_target(const HandOff& handoff, const Status& end) {
  const uint8_t* const bytes = target_->memory().data();
  uint64_t foreign = 0;
  uint64_t missing = 0;
  const uint64_t layer_bytes = target_->memory().size() / shape().layers;
  for (uint32_t layer = 0; layer < shape().layers; ++layer) {
    const bool is_placed = end.is_ok() || handoff.target.gate(layer).poll().is_ok();
    for (uint64_t i = layer * layer_bytes; i < (layer + 1) * layer_bytes; ++i) {
      if (bytes[i] == expected_[i]) continue;
      if (is_placed) ++missing;
      // With zeros a source fills the rest of an answer that it refuses half-way.
      const bool is_filled = options_.by == By::kPull && bytes[i] == 0 && !is_placed;
      if (bytes[i] != GuardedBuffer::kPoison && !is_filled) ++foreign;
    }
  }
  checked_bytes_ += target_->memory().size();
  foreign_bytes_ += foreign;
  EXPECT_EQ(foreign, 0u) << "bytes that are neither poison nor the source's";
  EXPECT_EQ(missing, 0u) << "bytes of layers that are said to have arrived";
  EXPECT_EQ(target_->memory().check_guards(), "");
  for (uint32_t layer = 0; layer < shape().layers; ++layer) {
    EXPECT_TRUE(handoff.target.gate(layer).is_open()) << "layer " << layer;
  }
}

ProxyRig::Ends ProxyRig::finish(HandOff& handoff) {
  Ends ends;
  std::thread source([&] {
    ends.source = handoff.source.wait(30000);
    // The source is the caller's again: what is read from now on is nobody's.
    source_->memory().fill_pattern(test_seed() + 1);
  });
  ends.target = handoff.target.wait(30000);
  check_target(handoff, ends.target);
  target_->memory().poison();  // the pages are reused
  source.join();
  EXPECT_TRUE(baton::is_terminal(handoff.source.state())) << ends.source.to_string();
  EXPECT_TRUE(baton::is_terminal(handoff.target.state())) << ends.target.to_string();
  EXPECT_TRUE(ends.target.is_ok() || !ends.source.is_ok())
      << ends.target.to_string() << " / " << ends.source.to_string();
  if (ends.target.is_ok()) {
    EXPECT_EQ(handoff.target.record().units, 640u);
  }
  check_events(handoff, ends);
  return ends;
}

// Peers come and go meanwhile: only the requests' own events are looked at.
void ProxyRig::check_events(const HandOff& handoff, const Ends& ends) {
  const auto of_source = next_event(*prefill_, handoff.source.event_kind());
  EXPECT_EQ(of_source.status.code(), ends.source.code());
  const auto of_target = next_event(*decode_, handoff.target.event_kind());
  EXPECT_EQ(of_target.status.code(), ends.target.code());
}

void ProxyRig::expect_life_goes_on() {
  // Nothing of what was before came later.
  checked_bytes_ += target_->memory().size();
  EXPECT_EQ(target_->memory().check_poisoned(0, target_->memory().size()), "");
  connect();
  HandOff handoff = start(shape().layers);
  const Ends ends = finish(handoff);
  EXPECT_TRUE(ends.target.is_ok()) << ends.target.to_string();
  EXPECT_TRUE(ends.source.is_ok()) << ends.source.to_string();
}

}  // namespace baton_test
