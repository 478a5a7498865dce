#include "tests/unit/handoff/engine_pair.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "baton/plugin/builtin.h"

namespace baton_test {

using baton::GrantId;
using baton::PathEpoch;
using baton::PeerId;
using baton::RailIndex;
using baton::SectionId;
using baton::Status;
using baton::StatusCode;
using baton::handoff::GrantState;
using baton::handoff::PullState;
using baton::handoff::ReadGrantState;
using baton::handoff::TransferKind;
using baton::handoff::TransferState;

namespace {

const std::vector<std::vector<uint32_t>> kSourceBlocks = {{0, 1, 2, 3}};
const std::vector<std::vector<uint32_t>> kTargetBlocks = {{3, 2, 1, 0}};

template <typename T>
T must(baton::Result<T> result) {
  if (!result.is_ok()) {
    std::fprintf(stderr, "%s\n", result.status().to_string().c_str());
    std::abort();
  }
  return std::move(result).value();
}

}  // namespace

// ---- one side

EngineSide::EngineSide(baton_loopback_fabric* fabric, baton::base::ManualClock* clock,
                       size_t memory_bytes)
    : clock_(clock),
      logger_(baton::LogLevel::kOff),
      memory_(memory_bytes),
      waker_(must(baton::counter::Waker::create())),
      counters_(must(baton::counter::CounterTable::create(64))) {
  engine_ = std::make_unique<baton::handoff::Engine>(baton::handoff::Engine::Limits{64, 64}, this,
                                                     counters_.get(), waker_, *clock_, logger_);
  baton::RailOptions options;
  options.plugin = "loopback";
  options.in_process = fabric;
  rail_ =
      must(baton::transport::Rail::open(RailIndex(0), baton_plugin_loopback(), options,
                                        EnginePair::kBlockBytes, engine_.get(), *clock_, logger_));
  engine_->set_rails({rail_.get()});
}

EngineSide::~EngineSide() {
  while (!engine_->shut_down(clock_->now_ns())) {
    rail_->plugin().progress(rail_->handle(), UINT64_MAX);
  }
  rail_.reset();
}

uint32_t EngineSide::turn() {
  uint32_t done = engine_->turn(clock_->now_ns());
  done += progress();
  return done + engine_->after_rails(clock_->now_ns());
}

uint32_t EngineSide::progress() { return rail_->plugin().progress(rail_->handle(), 1u << 20); }

void EngineSide::control(baton::handoff::Command&& command) {
  ASSERT_TRUE(engine_->from_control(std::move(command)));
  turn();
}

void EngineSide::receive(baton::wire::Message message) {
  control(baton::handoff::PeerMessage{PeerId(kPeer),
                                      std::make_unique<baton::wire::Message>(std::move(message))});
}

// As the control plane does it: what cannot be encoded does not leave.
Status EngineSide::send(PeerId, const baton::wire::Message& message) {
  if (before_send) before_send(message);
  const auto frame = baton::wire::encode(message);
  if (!frame.is_ok()) return frame.status();
  auto body = std::span<const uint8_t>(*frame).subspan(baton::wire::kFramePrefixBytes);
  outbox.push_back(must(baton::wire::decode(body)));
  return Status::ok();
}

void EngineSide::grant_ended(const std::shared_ptr<GrantState>& grant) {
  EXPECT_TRUE(grant->life.is_terminal());
  grant->give_back();
  ended_grants.push_back(grant->id);
}

void EngineSide::transfer_ended(const std::shared_ptr<TransferState>& transfer) {
  EXPECT_TRUE(transfer->life.is_terminal());
  EXPECT_EQ(transfer->all_ops_out(), 0u);
  ended_transfers.push_back(transfer->id);
}

void EngineSide::offer_arrived(PeerId, baton::wire::GrantOffer offer) {
  offers.insert(offer.grant);
  if (offer.kind == baton::wire::GrantKind::kKvRead) read_offers.insert(offer.grant);
  offers_seen.push_back(std::move(offer));
}

void EngineSide::path_ready(PeerId, uint32_t, const Status& status) {
  path_reports.push_back(status);
}

// ---- both

baton::wire::PathRequest ask_for_path(EngineSide& from, PeerId peer, PathEpoch epoch,
                                      uint32_t ordinal, RailIndex peer_rail) {
  from.control(baton::handoff::OpenAddressedPath{
      peer, {epoch, ordinal, RailIndex(0), peer_rail}, false, {}});
  auto request = std::get<baton::wire::PathRequest>(from.outbox.front());
  from.outbox.pop_front();
  return request;
}

baton::wire::PathReply answer_with_path(EngineSide& to, PeerId peer,
                                        const baton::wire::PathRequest& request,
                                        RailIndex peer_rail) {
  to.control(baton::handoff::OpenAddressedPath{
      peer, {request.epoch, request.ordinal, RailIndex(0), peer_rail}, true, request.address});
  auto reply = std::get<baton::wire::PathReply>(to.outbox.front());
  to.outbox.pop_front();
  return reply;
}

baton_loopback_plan EnginePair::default_plan() {
  baton_loopback_plan plan{};
  baton_loopback_plan_init(&plan);
  return plan;
}

EnginePair::EnginePair(const baton_loopback_plan& plan,
                       const std::function<void(EnginePair&)>& while_dialling, uint32_t paths)
    : clock_(1000 * kMs) {
  fabric_ = baton_loopback_fabric_create(&plan);
  constexpr size_t kBytes = kLayers * 4 * kBlockBytes;
  writer_ = std::make_unique<EngineSide>(fabric_, &clock_, kBytes);
  receiver_ = std::make_unique<EngineSide>(fabric_, &clock_, kBytes);
  writer_->memory().fill_pattern(1);
  for (EngineSide* side : {writer_.get(), receiver_.get()})
    side->control(baton::handoff::PeerUp{PeerId(EngineSide::kPeer), kBlockBytes});
  for (uint32_t ordinal = 0; ordinal < paths; ++ordinal) open_path(ordinal, while_dialling);
  EXPECT_EQ(receiver_->path_reports, std::vector<Status>(paths, Status::ok()));
}

EnginePair::~EnginePair() {
  writer_.reset();
  receiver_.reset();
  EXPECT_EQ(grant == nullptr || grant->life.is_terminal(), true);
  baton_loopback_fabric_destroy(fabric_);
}

// The writer asks for the Paths, as the side that dialled.
void EnginePair::open_path(uint32_t ordinal,
                           const std::function<void(EnginePair&)>& while_dialling) {
  const PeerId peer(EngineSide::kPeer);
  const auto request = ask_for_path(*writer_, peer, PathEpoch(kEpoch + ordinal), ordinal);
  if (while_dialling) while_dialling(*this);
  const auto reply = answer_with_path(*receiver_, peer, request);
  EXPECT_EQ(reply.code, StatusCode::kOk) << reply.error;
  writer_->control(baton::handoff::ConnectPath{peer, reply.epoch, reply.address});
  EXPECT_EQ(receiver_->path_reports.back(), Status::ok());
  EXPECT_EQ(writer_->path_reports.back(), Status::ok());
}

void EnginePair::reopen(uint32_t ordinal, uint64_t epoch, RailIndex peer_rail) {
  const PeerId peer(EngineSide::kPeer);
  const auto request = ask_for_path(*writer_, peer, PathEpoch(epoch), ordinal, peer_rail);
  const auto reply = answer_with_path(*receiver_, peer, request, peer_rail);
  EXPECT_EQ(reply.code, StatusCode::kOk) << reply.error;
  writer_->control(baton::handoff::ConnectPath{peer, reply.epoch, reply.address});
}

void EnginePair::turns(int times) {
  for (int i = 0; i < times; ++i) {
    writer_->turn();
    receiver_->turn();
  }
}

int EnginePair::turn_while_awake() {
  constexpr int kMost = 100'000;
  int turns = 0;
  for (bool awake = true; awake && turns < kMost;) {
    awake = false;
    for (EngineSide* side : {writer_.get(), receiver_.get()}) {
      const bool did_something = side->turn() != 0;
      awake = did_something || side->has_work() || awake;
      ++turns;
    }
  }
  EXPECT_LT(turns, kMost) << "it never sleeps";
  return turns;
}

void EnginePair::settle() {
  turns();
  while (!writer_->outbox.empty() || !receiver_->outbox.empty()) {
    for (auto [from, to] :
         {std::pair{writer_.get(), receiver_.get()}, std::pair{receiver_.get(), writer_.get()}}) {
      if (from->outbox.empty()) continue;
      baton::wire::Message message = std::move(from->outbox.front());
      from->outbox.pop_front();
      to->receive(std::move(message));
    }
    turns();
  }
}

std::vector<std::string> EnginePair::waiting(const EngineSide& side) {
  std::vector<std::string> names;
  for (const auto& message : side.outbox) names.emplace_back(baton::wire::message_name(message));
  return names;
}

void EnginePair::fail_delivery(const EngineSide& from) {
  std::string names;
  for (const std::string& name : waiting(from)) names += " " + name;
  ADD_FAILURE() << "another message was expected; these wait:" << names;
}

baton::Layout EnginePair::layout() const {
  baton::LayerGroup group;
  group.block_tokens = 4;
  group.heads_total = group.heads = 1;
  group.head_elements = kBlockBytes / 4;
  group.dtype = baton::DType::kU8;
  group.num_blocks = 4;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    group.layers.push_back(layer);
    group.places.push_back(
        {SectionId(EngineSide::kSection), uint64_t{layer} * 4 * kBlockBytes, kBlockBytes});
  }
  baton::Layout layout;
  layout.groups.push_back(group);
  return layout;
}

std::shared_ptr<GrantState> EnginePair::make_grant() {
  auto made = std::make_shared<GrantState>();
  made->id = GrantId(++last_grant_);
  made->peer = PeerId(EngineSide::kPeer);
  made->target_cache = made->source_cache = baton::CacheId(1);
  made->tokens = kTokens;
  made->block_lists = kTargetBlocks;
  made->counters = &receiver_->counters();
  made->granted_ns = clock_.now_ns();
  made->deadline_ns = clock_.now_ns() + 30'000 * kMs;
  made->lease_ns = 20'000 * kMs;
  made->num_layers = kLayers;
  made->layers = std::make_unique<GrantState::Layer[]>(kLayers);
  made->all = std::make_shared<baton::counter::GateState>(1, 0);
  made->total_units = kLayers * kUnitsPerLayer;
  made->slots = must(receiver_->counters().allocate(kLayers));
  for (uint32_t i = 0; i < kLayers; ++i) {
    GrantState::Layer& layer = made->layers[i];
    layer.slot = made->slots.at(i);
    layer.generation = receiver_->counters().generation(layer.slot);
    layer.units = kUnitsPerLayer;
    layer.gate = std::make_shared<baton::counter::GateState>(1, 0);
    receiver_->counters().arm(layer.slot, made->peer, kUnitsPerLayer);
  }
  made->permissions.add(
      {EngineSide::kSection, 0, receiver_->memory().size(), receiver_->memory().data()});
  made->permissions.seal();
  return made;
}

std::shared_ptr<GrantState> EnginePair::make_range_grant() {
  auto made = std::make_shared<GrantState>();
  made->id = GrantId(++last_grant_);
  made->peer = PeerId(EngineSide::kPeer);
  made->is_ranges = true;
  made->counters = &receiver_->counters();
  made->deadline_ns = clock_.now_ns() + 30'000 * kMs;
  made->lease_ns = 20'000 * kMs;
  made->all = std::make_shared<baton::counter::GateState>(1, 0);
  made->ranges.push_back({SectionId(EngineSide::kSection), 0, receiver_->memory().size()});
  made->permissions.add(
      {EngineSide::kSection, 0, receiver_->memory().size(), receiver_->memory().data()});
  made->permissions.seal();
  return made;
}

std::shared_ptr<TransferState> EnginePair::make_write(const GrantState& of) {
  auto made = std::make_shared<TransferState>();
  made->id = baton::TransferId(++last_transfer_);
  made->peer = PeerId(EngineSide::kPeer);
  made->grant = of.id;
  made->kind = TransferKind::kWrite;
  made->clock = &clock_;
  made->deadline_ns = clock_.now_ns() + 30'000 * kMs;
  made->lease_ns = 20'000 * kMs;
  GuardedBuffer& memory = writer_->memory();
  made->local.push_back({EngineSide::kSection, memory.data(), memory.size(), {nullptr}});
  made->remote.push_back(
      {EngineSide::kSection, {{RailIndex(0), {EngineSide::kSection, 0}}}, memory.size()});
  made->runs.push_back({0, 0, memory.size()});
  return made;
}

baton::kv::Plan EnginePair::make_plan() const {
  const baton::Layout both = layout();
  baton::kv::PlanRequest request;
  request.source = &both;
  request.target = &both;
  request.source_blocks = std::span<const std::vector<uint32_t>>(kSourceBlocks);
  request.target_blocks = kTargetBlocks;
  request.tokens = kTokens;
  request.unit_bytes = kBlockBytes;
  return must(baton::kv::Plan::create(request));
}

std::shared_ptr<ReadGrantState> EnginePair::make_read_grant() {
  auto made = std::make_shared<ReadGrantState>();
  made->id = baton::TransferId(++last_transfer_);
  made->grant = GrantId(++last_grant_);
  made->peer = PeerId(EngineSide::kPeer);
  made->clock = &clock_;
  made->target_cache = made->source_cache = baton::CacheId(1);
  made->block_lists = kSourceBlocks;
  made->tokens = kTokens;
  made->deadline_ns = clock_.now_ns() + 30'000 * kMs;
  made->lease_ns = 20'000 * kMs;
  made->plan = std::make_unique<baton::kv::Plan>(make_plan());
  made->num_layers = kLayers;
  made->layers = std::make_unique<TransferState::LayerSent[]>(kLayers);
  made->told = std::make_unique<ReadGrantState::Layer[]>(kLayers);
  for (uint32_t i = 0; i < kLayers; ++i) {
    made->layers[i].units = kUnitsPerLayer;
    made->told[i].tokens = kTokens;
  }
  made->permissions.add(
      {EngineSide::kSection, 0, writer_->memory().size(), writer_->memory().data()});
  made->permissions.seal();
  return made;
}

std::shared_ptr<PullState> EnginePair::make_pull(const ReadGrantState& of) {
  auto made = std::make_shared<PullState>();
  made->id = of.grant;
  made->transfer = baton::TransferId(++last_transfer_);
  made->peer = PeerId(EngineSide::kPeer);
  made->allow_write = false;
  made->tokens = kTokens;
  made->counters = &receiver_->counters();
  made->granted_ns = clock_.now_ns();
  made->deadline_ns = of.deadline_ns;
  made->lease_ns = of.lease_ns;
  made->plan = std::make_unique<baton::kv::Plan>(make_plan());
  made->total_units = made->plan->total_units();
  GuardedBuffer& memory = receiver_->memory();
  made->local.push_back({EngineSide::kSection, memory.data(), memory.size(), {nullptr}});
  made->remote.push_back(
      {EngineSide::kSection, {{RailIndex(0), {EngineSide::kSection, 0}}}, memory.size()});
  made->num_layers = kLayers;
  made->layers = std::make_unique<GrantState::Layer[]>(kLayers);
  made->reads = std::make_unique<PullState::Reads[]>(kLayers);
  made->whole.reserve(kLayers);
  made->all = std::make_shared<baton::counter::GateState>(1, 0);
  made->slots = must(receiver_->counters().allocate(kLayers));
  for (uint32_t i = 0; i < kLayers; ++i) {
    GrantState::Layer& layer = made->layers[i];
    layer.slot = made->slots.at(i);
    layer.generation = receiver_->counters().generation(layer.slot);
    layer.units = kUnitsPerLayer;
    layer.gate = std::make_shared<baton::counter::GateState>(1, 0);
    made->reads[i].owner = made.get();
    made->reads[i].ordinal = i;
    made->reads[i].tokens = kTokens;
    made->reads[i].bytes = made->plan->bytes_of_layer(i);
    receiver_->counters().arm(layer.slot, made->peer, made->reads[i].num_tokens());
  }
  return made;
}

std::shared_ptr<TransferState> EnginePair::make_transfer(const GrantState& of) {
  auto made = make_write(of);
  made->kind = TransferKind::kPush;
  made->runs.clear();
  made->plan = std::make_unique<baton::kv::Plan>(make_plan());
  EXPECT_EQ(made->plan->total_units(), uint64_t{kLayers} * kUnitsPerLayer);
  made->tokens = kTokens;
  made->target_blocks = kTargetBlocks;
  made->num_layers = kLayers;
  made->layers = std::make_unique<TransferState::LayerSent[]>(kLayers);
  made->settlement.open(kLayers);
  for (uint32_t i = 0; i < kLayers; ++i) {
    made->layers[i].units = kUnitsPerLayer;
    made->slots.push_back({of.layers[i].slot, of.layers[i].generation, i});
  }
  return made;
}

void EnginePair::open(const std::shared_ptr<GrantState>& one) {
  ASSERT_TRUE(receiver_->engine().submit(baton::handoff::OpenGrant{one}).is_ok());
  receiver_->turn();
}

void EnginePair::open(const std::shared_ptr<TransferState>& one) {
  ASSERT_TRUE(writer_->engine().submit(baton::handoff::OpenTransfer{one}).is_ok());
  writer_->turn();
}

void EnginePair::start() {
  grant = make_grant();
  open(grant);
  const auto offer = deliver<baton::wire::GrantOffer>(*receiver_);
  EXPECT_EQ(offer.grant, grant->id);
  EXPECT_EQ(offer.units_per_slot, std::vector<uint32_t>(kLayers, kUnitsPerLayer));
  transfer = make_transfer(*grant);
  open(transfer);
}

void EnginePair::start_pull() {
  auto read_grant = make_read_grant();
  transfer = read_grant;
  open(transfer);
  const auto offer = deliver<baton::wire::GrantOffer>(*writer_);
  EXPECT_EQ(offer.kind, baton::wire::GrantKind::kKvRead);
  EXPECT_EQ(offer.units_per_slot, std::vector<uint32_t>(kLayers, kUnitsPerLayer));
  grant = make_pull(*read_grant);
  open(grant);
  const auto start = deliver<baton::wire::ReadStart>(*receiver_);
  EXPECT_EQ(start.units_per_slot, std::vector<uint32_t>(kLayers, 16));
}

void EnginePair::seal() {
  baton::handoff::AddChunk add;
  add.transfer = transfer;
  add.chunk.tokens = kTokens;
  ++transfer->chunks_queued;
  ASSERT_TRUE(writer_->engine().submit(std::move(add)).is_ok());
  ASSERT_TRUE(writer_->engine().submit(baton::handoff::SealTransfer{transfer}).is_ok());
}

void EnginePair::cancel_grant(StatusCode code) {
  ASSERT_TRUE(grant->begin_cancel(Status(code, "by the receiver"), clock_.now_ns()));
  receiver_->engine().queue_cancel(grant);
}

void EnginePair::cancel_transfer(StatusCode code) {
  ASSERT_TRUE(transfer->life.begin_cancel(Status(code, "by the writer")));
  writer_->engine().queue_cancel(transfer);
}

std::string EnginePair::compare_all() {
  std::vector<uint8_t> expected(receiver_->memory().size());
  const uint8_t* source = writer_->memory().data();
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    for (uint32_t block = 0; block < 4; ++block) {
      const uint8_t* from = source + (uint64_t{layer} * 4 + block) * kBlockBytes;
      std::copy_n(from, kBlockBytes,
                  expected.data() + (uint64_t{layer} * 4 + 3 - block) * kBlockBytes);
    }
  }
  return compare_bytes(expected, receiver_->memory().bytes());
}

}  // namespace baton_test
