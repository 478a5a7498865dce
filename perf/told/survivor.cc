#include "perf/told/survivor.h"

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <utility>

#include "baton/context.h"
#include "perf/lib/clock.h"
#include "perf/lib/table.h"
#include "perf/pair/child.h"
#include "perf/told/told_cache.h"
#include "perf/told/told_peer.h"

namespace baton_perf {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint32_t kWaitMs = 30'000;
constexpr uint32_t kLongDeadlineMs = 60'000;
constexpr uint64_t kMaxSpinNs = 4'000'000;

// One strike, from the start of the peer to the last end.
class Strike {
 public:
  struct Times {
    int64_t struck_ns = 0;
    int64_t deadline_ns = 0;
    int64_t told_ns = 0;
  };

  Strike(const ToldSettings& settings, baton::Context& context, const ToldCache& cache,
         std::mt19937_64& random, uint32_t number, bool kills)
      : context_(context), cache_(cache), random_(random), kills_(kills) {
    deadline_ms_ = kills ? kLongDeadlineMs : settings.deadline_ms;
    peer_.name = "told-" + std::to_string(number);
    peer_.is_writer = number % 2 == 0;
    peer_.deadline_ms = deadline_ms_;
    // All but the last layer at most: nothing may be done before the strike.
    layers_ = static_cast<uint32_t>(random_() % ToldCache::kLayers);
    peer_.layers = layers_;
    peer_.answers = layers_ > 0 || random_() % 2 == 0;
  }

  Result<Times> run() {
    BATON_RETURN_IF_ERROR(peer_.is_writer ? prepare_as_receiver() : prepare_as_writer());
    spin();
    times_.struck_ns = monotonic_ns();
    ::kill(child_->pid(), kills_ ? SIGKILL : SIGSTOP);
    const Status wrong = wait_all();
    times_.told_ns = monotonic_ns();
    child_.reset();
    if (!wrong.is_ok()) return wrong;
    return times_;
  }

 private:
  Status start_child() {
    std::vector<std::string> arguments = {"peer",
                                          "--name",
                                          peer_.name,
                                          "--layers",
                                          std::to_string(peer_.layers),
                                          "--deadline-ms",
                                          std::to_string(deadline_ms_)};
    if (!peer_.is_writer) arguments.insert(arguments.end(), {"--connect", context_.address()});
    if (!peer_.answers) arguments.push_back("--mute");
    auto child = Child::start(arguments);
    if (!child.is_ok()) return child.status();
    child_ = std::make_unique<Child>(std::move(*child));
    return Status::ok();
  }

  Status prepare_as_receiver() {
    BATON_RETURN_IF_ERROR(start_child());
    const auto address = child_->read_line(kWaitMs);
    if (!address.is_ok()) return address.status();
    const auto peer = context_.connect(*address, kWaitMs);
    if (!peer.is_ok()) return peer.status();
    times_.deadline_ns = monotonic_ns() + int64_t{deadline_ms_} * 1'000'000;
    for (uint32_t request = 0; request < ToldCache::kRequests; ++request) {
      auto grant = cache_.grant(context_, *peer, request, deadline_ms_);
      if (!grant.is_ok()) return grant.status();
      grants_.push_back(std::move(*grant));
    }
    const auto ready = child_->read_line(kWaitMs);
    if (!ready.is_ok()) return ready.status();
    if (layers_ == 0) return Status::ok();
    // An end by the deadline, where this was slow, is what is measured, too.
    grants_[random_() % grants_.size()].gate(layers_ - 1).wait(kWaitMs).ignore();
    return Status::ok();
  }

  Status prepare_as_writer() {
    BATON_RETURN_IF_ERROR(start_child());
    auto word = context_.create_progress_word();
    if (!word.is_ok()) return word.status();
    for (uint32_t request = 0; request < ToldCache::kRequests; ++request) {
      auto transfer = cache_.push(context_, request, kWaitMs);
      if (!transfer.is_ok()) return transfer.status();
      BATON_RETURN_IF_ERROR(transfer->submit_chunk({ToldCache::kTokens, &*word, 0}));
      transfers_.push_back(std::move(*transfer));
    }
    const auto ready = child_->read_line(kWaitMs);
    if (!ready.is_ok()) return ready.status();
    const int64_t granted_ns = std::atoll(ready->c_str() + ready->find(' '));
    times_.deadline_ns = granted_ns + int64_t{deadline_ms_} * 1'000'000;
    return layers_ == 0 ? Status::ok() : word->advance_to(layers_);
  }

  // So that the strike falls anywhere in what goes on.
  void spin() {
    const int64_t end_ns = monotonic_ns() + static_cast<int64_t>(random_() % kMaxSpinNs);
    while (monotonic_ns() < end_ns) {
    }
  }

  Status wait_all() {
    const uint32_t limit_ms = deadline_ms_ + kWaitMs;
    for (const baton::Grant& grant : grants_) {
      for (uint32_t layer = 0; layer < grant.num_layers(); ++layer) {
        grant.gate(layer).wait(limit_ms).ignore();
      }
      grant.all().wait(limit_ms).ignore();
      const Status end = grant.wait(limit_ms);
      BATON_RETURN_IF_ERROR(check("a Grant", end, grant.state(),
                                  kills_ ? StatusCode::kPeerLost : StatusCode::kDeadlineExceeded));
    }
    for (const baton::Transfer& transfer : transfers_) {
      const Status end = transfer.wait(limit_ms);
      BATON_RETURN_IF_ERROR(check("a Transfer", end, transfer.state(), StatusCode::kInDoubt));
    }
    return Status::ok();
  }

  // On a busy machine the data path may learn of its broken Path before the control thread has had
  // its turn (PATH_LOST), and of the peer's end before it has begun a Transfer (PEER_LOST: no
  // doubt).
  static Status check(const char* what, const Status& end, baton::State state, StatusCode code) {
    const bool is_expected = end.code() == code || end.code() == StatusCode::kPathLost ||
                             end.code() == StatusCode::kPeerLost;
    if (baton::is_terminal(state) && is_expected) return Status::ok();
    return {StatusCode::kInternal, std::string(what) + " of a struck peer: " + end.to_string()};
  }

  baton::Context& context_;
  const ToldCache& cache_;
  std::mt19937_64& random_;
  bool kills_;
  uint32_t deadline_ms_ = 0;
  uint32_t layers_ = 0;
  ToldPeerSettings peer_;
  std::unique_ptr<Child> child_;
  std::vector<baton::Grant> grants_;
  std::vector<baton::Transfer> transfers_;
  Times times_;
};

uint64_t positive(int64_t ns) { return static_cast<uint64_t>(std::max<int64_t>(ns, 0)); }

std::string line(const char* what, uint32_t done, uint32_t of, const Histogram& times_ns) {
  return std::string(what) + " " + std::to_string(done) + " of " + std::to_string(of) + ", p50 " +
         fixed(static_cast<double>(times_ns.percentile(50)) / 1e6, 2) + " ms, max " +
         fixed(static_cast<double>(times_ns.max()) / 1e6, 2) + " ms";
}

}  // namespace

Result<ToldResult> measure_told(const ToldSettings& settings,
                                const std::function<void(const std::string&)>& progress) {
  ToldResult result;
  result.settings = settings;
  result.machine = read_machine();
  baton::ContextOptions options;
  options.log_level = baton::LogLevel::kError;
  auto context = baton::Context::create(options);
  if (!context.is_ok()) return context.status();
  const auto cache = ToldCache::create(*context);
  if (!cache.is_ok()) return cache.status();
  std::mt19937_64 random(settings.seed);
  uint32_t number = 0;
  for (uint32_t i = 0; i < settings.kills; ++i) {
    const auto times = Strike(settings, *context, *cache, random, number++, true).run();
    if (!times.is_ok()) return times.status();
    result.killed_ns.record(positive(times->told_ns - times->struck_ns));
    progress(line("killed", i + 1, settings.kills, result.killed_ns));
  }
  for (uint32_t i = 0; i < settings.stops; ++i) {
    const auto times = Strike(settings, *context, *cache, random, number++, false).run();
    if (!times.is_ok()) return times.status();
    result.stopped_ns.record(positive(times->told_ns - times->struck_ns));
    result.after_deadline_ns.record(positive(times->told_ns - times->deadline_ns));
    progress(line("stopped", i + 1, settings.stops, result.stopped_ns));
  }
  return result;
}

}  // namespace baton_perf
