#include "tests/unit/control/endpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "tests/unit/wire/sample_messages.h"

namespace baton_test {

using namespace baton;           // NOLINT(google-build-using-namespace)
using namespace baton::control;  // NOLINT(google-build-using-namespace)

namespace {
constexpr std::chrono::seconds kLimit(20);
}

Secret test_secret(uint8_t seed) {
  std::array<uint8_t, 32> bytes{};
  for (auto& byte : bytes) byte = seed++;
  return Secret(bytes);
}

ControlOptions test_options(const std::string& name) {
  ControlOptions options;
  options.name = name;
  return options;
}

size_t count_open_fds() {
  const std::filesystem::directory_iterator fds("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(fds), end(fds)));
}

ControlOptions secret_options(const std::string& name, uint8_t secret) {
  ControlOptions options = test_options(name);
  options.secret = test_secret(secret);
  return options;
}

Endpoint::Endpoint(ControlOptions options, base::ManualClock* clock)
    : describe(sample_describe()),
      manual_(clock),
      logger_(LogLevel::kDebug, [this](LogLevel, std::string_view text) {
        const std::lock_guard lock(mutex_);
        log.emplace_back(text);
        changed_.notify_all();
      }) {
  base::Clock& used = clock != nullptr ? static_cast<base::Clock&>(*clock) : monotonic_;
  auto plane = ControlPlane::start(std::move(options), this, logger_, used);
  started_ = plane.status();
  if (plane.is_ok()) plane_ = std::move(plane).value();
}

Endpoint::~Endpoint() { plane_.reset(); }

bool Endpoint::wait_for(const std::function<bool()>& done) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kLimit, done);
}

PeerId Endpoint::wait_up(size_t nth) {
  PeerId peer;
  wait_for([&] {
    if (ups.size() > nth) peer = ups[nth].first;
    return bool(peer);
  });
  return peer;
}

std::optional<Status> Endpoint::wait_in(const std::map<PeerId, Status>& map, PeerId peer) {
  std::optional<Status> status;
  wait_for([&] {
    if (map.contains(peer)) status = map.at(peer);
    return status.has_value();
  });
  return status;
}

std::optional<Status> Endpoint::wait_down(PeerId peer) { return wait_in(downs, peer); }

std::optional<Status> Endpoint::wait_dial_failed(PeerId dialed) {
  return wait_in(failed_dials, dialed);
}

PeerId Endpoint::wait_joined(PeerId dialed) {
  PeerId existing;
  wait_for([&] {
    if (joined.contains(dialed)) existing = joined.at(dialed);
    return bool(existing);
  });
  return existing;
}

size_t Endpoint::count_ups() {
  const std::lock_guard lock(mutex_);
  return ups.size();
}

bool Endpoint::is_down(PeerId peer) {
  const std::lock_guard lock(mutex_);
  return downs.contains(peer);
}

bool Endpoint::has_failed(PeerId dialed) {
  const std::lock_guard lock(mutex_);
  return failed_dials.contains(dialed);
}

void Endpoint::advance_ms(int64_t ms) {
  manual_->advance_ns(ms * 1'000'000);
  settle();
}

void Endpoint::settle() {
  // A turn is: sockets, commands, alarm, timers. The first alarm may be met by a turn that read its
  // sockets and the clock before; the second by one that saw both; it is over at the third.
  for (int i = 0; i < 3; ++i) {
    size_t before = 0;
    {
      const std::lock_guard lock(mutex_);
      before = alarms.size();
    }
    plane().set_alarm(0);
    EXPECT_TRUE(wait_for([&] { return alarms.size() > before; })) << "the control thread is stuck";
  }
}

bool Endpoint::wait_messages(size_t count) {
  return wait_for([&] { return messages.size() >= count; });
}

bool Endpoint::wait_log(const std::string& part) {
  return wait_for([&] {
    return std::any_of(log.begin(), log.end(), [&](const std::string& line) {
      return line.find(part) != std::string::npos;
    });
  });
}

base::UniqueFd Endpoint::wait_stream() {
  base::UniqueFd stream;
  wait_for([&] {
    if (streams.empty()) return false;
    stream = std::move(streams.back().second);
    streams.pop_back();
    return true;
  });
  return stream;
}

std::optional<Status> Endpoint::wait_stream_failed(size_t nth) {
  std::optional<Status> status;
  wait_for([&] {
    if (failed_streams.size() > nth) status = failed_streams[nth];
    return status.has_value();
  });
  return status;
}

PeerId Endpoint::dial(const std::string& address) {
  const auto peer = plane().dial(address);
  EXPECT_TRUE(peer.is_ok()) << peer.status().to_string();
  return peer.is_ok() ? *peer : PeerId();
}

PeerId Endpoint::dial_and_wait(const std::string& address) {
  const PeerId peer = dial(address);
  const bool up = wait_for([&] {
    return std::any_of(ups.begin(), ups.end(), [&](const auto& one) { return one.first == peer; });
  });
  return up ? peer : PeerId();
}

Status Endpoint::check_peer(const wire::Describe& theirs) {
  return check ? check(theirs) : Status::ok();
}

void Endpoint::on_peer_up(PeerId peer, const PeerInfo& info) {
  const std::lock_guard lock(mutex_);
  ups.emplace_back(peer, info);
  order.push_back("up " + std::to_string(peer.value));
  changed_.notify_all();
}

void Endpoint::on_dial_failed(PeerId dialed, const Status& why) {
  const std::lock_guard lock(mutex_);
  EXPECT_TRUE(failed_dials.emplace(dialed, why).second) << "a dial fails once";
  changed_.notify_all();
}

void Endpoint::on_dial_joined(PeerId dialed, PeerId existing) {
  const std::lock_guard lock(mutex_);
  EXPECT_TRUE(joined.emplace(dialed, existing).second) << "a dial joins once";
  changed_.notify_all();
}

void Endpoint::on_peer_down(PeerId peer, const Status& why) {
  const std::lock_guard lock(mutex_);
  EXPECT_TRUE(downs.emplace(peer, why).second) << "a peer goes down once";
  order.push_back("down " + std::to_string(peer.value));
  changed_.notify_all();
}

void Endpoint::on_message(PeerId peer, wire::Message&& message) {
  {
    const std::lock_guard lock(mutex_);
    messages.emplace_back(peer, std::move(message));
    changed_.notify_all();
  }
  if (on_each_message) on_each_message();
}

void Endpoint::on_heartbeat_echo(PeerId, int64_t sent_ns) {
  const std::lock_guard lock(mutex_);
  echoes.push_back(sent_ns);
  changed_.notify_all();
}

void Endpoint::on_peer_lost_after(PeerId, int64_t silent_ns) {
  const std::lock_guard lock(mutex_);
  silences.push_back(silent_ns);
  changed_.notify_all();
}

void Endpoint::on_stream(PeerId, PathEpoch epoch, base::UniqueFd stream) {
  const std::lock_guard lock(mutex_);
  streams.emplace_back(epoch, std::move(stream));
  changed_.notify_all();
}

void Endpoint::on_stream_failed(PeerId, PathEpoch, const Status& why) {
  const std::lock_guard lock(mutex_);
  failed_streams.push_back(why);
  changed_.notify_all();
}

int64_t Endpoint::on_alarm(int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  alarms.push_back(now_ns);
  changed_.notify_all();
  return alarm ? alarm(now_ns) : INT64_MAX;
}

}  // namespace baton_test
