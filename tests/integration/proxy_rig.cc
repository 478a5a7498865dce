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

ProxyRig::HandOff ProxyRig::start(uint32_t layers, uint32_t deadline_ms) {
  HandOff handoff;
  baton::GrantRequest request;
  request.peer = prefill_peer_;
  request.cache = target_->cache();
  request.source_cache = "kv";
  request.tag = "r" + std::to_string(handoffs_++);
  request.tokens = kTokens;
  request.block_lists = {blocks_};
  request.deadline_ms = deadline_ms;
  handoff.grant = require(decode_->grant(request), "grant");
  const auto offer = require(prefill_->wait_offer(request.tag, 20000), "wait_offer");
  baton::PushRequest push;
  push.grant = offer.id;
  push.cache = source_->cache();
  push.block_lists = {blocks_};
  handoff.transfer = require(prefill_->push(push), "push");
  handoff.word = require(prefill_->create_progress_word(), "create_progress_word");
  require_ok(handoff.transfer.submit_chunk({kTokens, &handoff.word, 0}), "submit_chunk");
  if (layers > 0) require_ok(handoff.word.advance_to(layers), "advance_to");
  return handoff;
}

void ProxyRig::check_target(const HandOff& handoff, const Status& end) {
  const uint8_t* const bytes = target_->memory().data();
  uint64_t foreign = 0;
  uint64_t missing = 0;
  const uint64_t layer_bytes = target_->memory().size() / shape().layers;
  for (uint32_t layer = 0; layer < shape().layers; ++layer) {
    const bool is_placed = end.is_ok() || handoff.grant.gate(layer).poll().is_ok();
    for (uint64_t i = layer * layer_bytes; i < (layer + 1) * layer_bytes; ++i) {
      if (bytes[i] == expected_[i]) continue;
      if (bytes[i] != GuardedBuffer::kPoison) ++foreign;
      if (is_placed) ++missing;
    }
  }
  checked_bytes_ += target_->memory().size();
  foreign_bytes_ += foreign;
  EXPECT_EQ(foreign, 0u) << "bytes that are neither poison nor the source's";
  EXPECT_EQ(missing, 0u) << "bytes of layers that are said to have arrived";
  EXPECT_EQ(target_->memory().check_guards(), "");
  for (uint32_t layer = 0; layer < shape().layers; ++layer) {
    EXPECT_TRUE(handoff.grant.gate(layer).is_open()) << "layer " << layer;
  }
}

ProxyRig::Ends ProxyRig::finish(HandOff& handoff) {
  Ends ends;
  std::thread writer([&] {
    ends.transfer = handoff.transfer.wait(30000);
    // The source is the caller's again: what is read from now on is nobody's.
    source_->memory().fill_pattern(test_seed() + 1);
  });
  ends.grant = handoff.grant.wait(30000);
  check_target(handoff, ends.grant);
  target_->memory().poison();  // the pages are reused
  writer.join();
  EXPECT_TRUE(baton::is_terminal(handoff.transfer.state())) << ends.transfer.to_string();
  EXPECT_TRUE(baton::is_terminal(handoff.grant.state())) << ends.grant.to_string();
  EXPECT_TRUE(ends.grant.is_ok() || !ends.transfer.is_ok())
      << ends.grant.to_string() << " / " << ends.transfer.to_string();
  if (ends.grant.is_ok()) {
    EXPECT_EQ(handoff.grant.record().units, 640u);
  }
  check_events(ends);
  return ends;
}

// Peers come and go meanwhile: only the requests' own events are looked at.
void ProxyRig::check_events(const Ends& ends) {
  const auto event = next_event(*prefill_, EventKind::kTransferEnded);
  EXPECT_EQ(event.status.code(), ends.transfer.code());
  EXPECT_EQ(next_event(*decode_, EventKind::kGrantEnded).status.code(), ends.grant.code());
}

void ProxyRig::expect_life_goes_on() {
  // Nothing of what was before came later.
  checked_bytes_ += target_->memory().size();
  EXPECT_EQ(target_->memory().check_poisoned(0, target_->memory().size()), "");
  connect();
  HandOff handoff = start(shape().layers);
  const Ends ends = finish(handoff);
  EXPECT_TRUE(ends.grant.is_ok()) << ends.grant.to_string();
  EXPECT_TRUE(ends.transfer.is_ok()) << ends.transfer.to_string();
}

}  // namespace baton_test
