#include "tests/unit/transfer/path_pair.h"

#include <cstdio>
#include <cstdlib>

#include "baton/plugin/builtin.h"

namespace baton_test {
namespace {

using baton::RailIndex;
using baton::transport::Rail;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

std::unique_ptr<Rail> open_rail(baton_loopback_fabric* fabric, baton::transport::RailEvents* events,
                                baton::base::Clock& clock, baton::base::Logger& logger,
                                uint32_t max_post_bytes) {
  baton::RailOptions options;
  options.plugin = "loopback";
  options.in_process = fabric;
  auto rail = Rail::open(RailIndex(0), baton_plugin_loopback(), options, max_post_bytes, events,
                         clock, logger);
  if (!rail.is_ok()) die("Rail::open");
  return std::move(rail).value();
}

baton_path* open_path(Rail& rail, uint64_t cookie, uint32_t max_post_bytes) {
  baton_path_options options{};
  options.struct_size = sizeof(options);
  options.cookie = cookie;
  options.epoch = 1;
  options.stream_fd = -1;
  options.max_message_bytes = max_post_bytes;
  char error[BATON_ERROR_BYTES] = {};
  baton_path* path = nullptr;
  if (rail.plugin().path_open(rail.handle(), &options, &path, error) != BATON_RC_OK) die(error);
  return path;
}

void connect(Rail& rail, baton_path* path, baton_path* peer) {
  uint8_t address[BATON_MAX_ADDRESS_BYTES];
  uint32_t length = 0;
  char error[BATON_ERROR_BYTES] = {};
  if (rail.plugin().path_address(peer, address, &length) != BATON_RC_OK) die("path_address");
  if (rail.plugin().path_connect(path, address, length, error) != BATON_RC_OK) die(error);
}

}  // namespace

void RecordingOwner::on_accepted(uint32_t, uint64_t bytes) {
  ++ops_out;
  if (bytes > 0) posts.push_back(bytes);
}

void RecordingOwner::on_refused(uint32_t, uint64_t bytes) {
  --ops_out;
  if (bytes > 0) posts.pop_back();
}

void RecordingOwner::on_signalled(uint32_t, uint32_t ordinal, uint32_t units) {
  if (signalled.size() <= ordinal) signalled.resize(ordinal + 1);
  signalled[ordinal] += units;
  ++signals;
}

void RecordingOwner::on_op_done(uint32_t, bool is_flush, baton_op_status status) {
  --ops_out;
  ++ops_done;
  if (status == BATON_OP_IN_DOUBT) ++ops_in_doubt;
  if (is_flush && status == BATON_OP_DONE) ++flushes_done;
}

void PathPair::Events::on_op_done(uint64_t, uint64_t op, baton_op_status status) {
  channel->op_done(op, status);
}

void PathPair::Events::on_units_arrived(uint64_t, uint32_t immediate) {
  immediates.push_back(baton::counter::unpack(immediate));
}

void PathPair::Events::on_fenced(uint64_t) {
  fenced = true;
  if (channel != nullptr) channel->set_state(baton::transfer::PathState::kFenced);
}

baton_resolved PathPair::Events::on_resolve(uint64_t, uint64_t, uint64_t, uint64_t address,
                                            uint32_t length, baton_access) {
  if (address > memory->size() || length > memory->size() - address) return {nullptr, 0};
  return {memory->data() + address, 0};
}

PathPair::PathPair(const baton_loopback_plan& plan, size_t memory_bytes, uint32_t max_post_bytes)
    : logger_(baton::LogLevel::kOff, nullptr), source_(memory_bytes), target_(memory_bytes) {
  source_.fill_pattern(memory_bytes);
  fabric_ = baton_loopback_fabric_create(&plan);
  if (fabric_ == nullptr) die("baton_loopback_fabric_create");
  sender_ = open_rail(fabric_, &sender_events_, clock_, logger_, max_post_bytes);
  receiver_ = open_rail(fabric_, &receiver_events_, clock_, logger_, max_post_bytes);
  receiver_events_.memory = &target_;
  baton_path* path = open_path(*sender_, 1, max_post_bytes);
  receiver_path_ = open_path(*receiver_, 1, max_post_bytes);
  connect(*sender_, path, receiver_path_);
  connect(*receiver_, receiver_path_, path);
  channel_ = std::make_unique<baton::transfer::PathChannel>(
      baton::transfer::PathChannel::Identity{baton::PeerId(3), baton::PathEpoch(1), 1, 0},
      sender_.get(), path, max_post_bytes);
  sender_events_.channel = channel_.get();
}

PathPair::~PathPair() {
  channel_->fence();
  receiver_->plugin().fence(receiver_path_);
  while (channel_->state() != baton::transfer::PathState::kFenced || !receiver_events_.fenced) {
    settle();
  }
  channel_.reset();
  receiver_->plugin().path_close(receiver_path_);
  sender_.reset();
  receiver_.reset();
  baton_loopback_fabric_destroy(fabric_);
}

bool PathPair::stage_unit(RecordingOwner& owner, const baton::transfer::SlotRef& slot,
                          uint64_t from, uint64_t to, uint32_t length, uint64_t key) {
  const baton_source source{source_.data() + from, nullptr, length, 0};
  return channel_->stage_unit({&source, 1, length, key, to}, {&owner, 1}, slot);
}

bool PathPair::stage_write(RecordingOwner& owner, uint64_t from, uint64_t to, uint32_t length) {
  const baton_source source{source_.data() + from, nullptr, length, 0};
  return channel_->stage_raw(BATON_POST_WRITE, {&source, 1, length, kKey, to}, {&owner, 1});
}

void PathPair::settle() {
  uint32_t done = 1;
  while (done > 0) {
    done = receiver_->plugin().progress(receiver_->handle(), UINT64_MAX);
    done += sender_->plugin().progress(sender_->handle(), UINT64_MAX);
  }
}

uint64_t PathPair::counted(baton::counter::SlotIndex slot) const {
  uint64_t units = 0;
  for (const auto& immediate : receiver_events_.immediates) {
    if (immediate.slot == slot) units += immediate.weight;
  }
  return units;
}

baton_loopback_plan covering_plan() {
  baton_loopback_plan plan{};
  baton_loopback_plan_init(&plan);
  return plan;
}

baton_loopback_plan ordered_plan() {
  baton_loopback_plan plan = covering_plan();
  plan.flags = BATON_CAP_ORDERED;
  return plan;
}

baton_loopback_plan unordered_plan() {
  baton_loopback_plan plan = covering_plan();
  plan.flags = 0;
  plan.reorder_percent = 50;
  return plan;
}

}  // namespace baton_test
