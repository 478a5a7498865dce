#include "tests/soak/soak_run.h"

#include <cinttypes>
#include <csignal>
#include <cstdio>

#include "examples/reference_engine/engine_progress.h"

namespace baton_soak {

using baton_engine::now_ns;

namespace {

constexpr uint64_t kWarmUp = 24;  // hand-offs before numbers are taken
constexpr uint64_t kChildWarmUp = 8;
constexpr uint64_t kRoundsBetweenChecks = 8;
constexpr uint64_t kDoomedHandOffs = 8;  // at most, before the one in which it dies
constexpr uint64_t kDoomedRounds = 4;    // beside it, at most
constexpr int64_t kShowEveryNs = 2'000'000'000;
// Of what is given back a moment after a hand-off's end.
constexpr int64_t kGrownForNs = 10'000'000'000;

}  // namespace

SoakRun::SoakRun(const SoakOptions& options)
    : options_(options),
      random_(options.seed + 1),
      decode_(options, "soak-decode"),
      own_watch_(kWarmUp) {}

std::string SoakRun::run() {
  start_ns_ = now_ns();
  std::string wrong = decode_.prepare();
  if (wrong.empty()) wrong = start_child();
  if (wrong.empty() && options_.kill_every > 0) aim_kill();
  if (options_.decode_kill_every > 0) next_doomed_ = random_() % (2 * options_.decode_kill_every);
  while (wrong.empty() && decode_.through() < options_.hand_offs) {
    wrong = one_round(false);
    asked_for_ = decode_.through();
  }
  if (wrong.empty()) wrong = settle();
  if (wrong.empty()) wrong = check_end();
  return wrong.empty() ? "" : "after " + std::to_string(decode_.through()) + " hand-offs: " + wrong;
}

std::string SoakRun::start_child() {
  if (child_watch_ && child_watch_->is_compared()) ++children_compared_;
  child_.emplace(baton_test::ChildProcess::self({"--role", "prefill"}));
  child_born_ = decode_.through();
  child_watch_.emplace(kChildWarmUp);
  const auto address = child_->read_line_after("ADDRESS ");
  if (!address) return "the prefill process did not start";
  child_address_ = *address;
  return decode_.connect(child_address_);
}

std::string SoakRun::start_doomed() {
  doomed_.emplace(baton_test::ChildProcess::self(
      {"--role", "doomed", "--address", child_address_, "--seed", std::to_string(random_()),
       "--hand-offs", std::to_string(random_() % (kDoomedHandOffs + 1)), "--pull-percent",
       std::to_string(options_.pull_percent), "--cancel-percent",
       std::to_string(options_.cancel_percent)}));
  doomed_rounds_ = 0;
  return doomed_->read_line_after("BEGINS") ? "" : "the second decode process did not begin";
}

std::string SoakRun::reap_doomed(std::chrono::milliseconds limit) {
  const auto line = doomed_->read_line_after("DIES ", limit);
  if (!line) {
    const bool may_come = limit < baton_test::ChildProcess::kDefaultLimit;
    return may_come ? "" : "the second decode process did not die where it should";
  }
  const auto exit = doomed_->wait_exit();
  if (!exit || !exit->signalled || exit->code != SIGKILL) return "it outlived its SIGKILL";
  doomed_tally_ += tally_from_json(nlohmann::json::parse(*line));
  doomed_.reset();
  ++decode_kills_;
  next_doomed_ = decode_.through() + random_() % (2 * options_.decode_kill_every);
  return check_rest();
}

void SoakRun::aim_kill() {
  decode_.strike_after(random_() % (2 * options_.kill_every), [this] {
    child_->kill();
    decode_.lose_peer();
    ++kills_;
  });
}

std::string SoakRun::one_round(bool calm) {
  const bool is_due = options_.decode_kill_every > 0 && decode_.through() >= next_doomed_;
  if (is_due && !calm && !doomed_) {
    const std::string wrong = start_doomed();
    if (!wrong.empty()) return wrong;
  }
  SoakDecode::Round plan;
  plan.calm = calm;
  // A kill of prefill would be the second decode process's, too.
  plan.strikes = !calm && !doomed_;
  plan.most = calm ? UINT64_MAX : options_.hand_offs - decode_.through();
  std::string wrong = decode_.round(plan);
  if (wrong.empty()) wrong = follow_up();
  show_progress(false);
  return wrong;
}

std::string SoakRun::follow_up() {
  ++rounds_;
  if (decode_.is_peer_killed()) {
    // The first death of a peer may leave something for good; no later one may.
    if (kills_ == 1) own_watch_.restart();
    aim_kill();
    return start_child();
  }
  if (doomed_) {
    return reap_doomed(++doomed_rounds_ < kDoomedRounds ? std::chrono::milliseconds(0)
                                                        : baton_test::ChildProcess::kDefaultLimit);
  }
  const bool is_young = decode_.through() - child_born_ < 2 * kChildWarmUp;
  return is_young || rounds_ % kRoundsBetweenChecks == 0 ? check_rest() : "";
}

std::string SoakRun::check_rest() {
  const int64_t end_ns = now_ns() + kGrownForNs;
  while (true) {
    std::string grown;
    std::string wrong = look_at_child(grown);
    if (wrong.empty()) wrong = decode_.check_rest();
    if (!wrong.empty()) return wrong;
    if (!grown.empty()) grown = "the prefill process: " + grown;
    const std::string own_grown = own_watch_.look(decode_.numbers(), decode_.through());
    if (!own_grown.empty()) grown += "the decode process: " + own_grown;
    if (grown.empty() || now_ns() > end_ns) return grown;
  }
}

std::string SoakRun::look_at_child(std::string& grown) {
  if (!child_->write_line("idle?")) return "the prefill process does not listen";
  const auto line = child_->read_line_after("IDLE ");
  if (!line) return "the prefill process does not answer";
  const auto idle = nlohmann::json::parse(*line);
  const bool is_at_rest = idle["live"] == 0 && idle["offers"] == 0;
  if (!is_at_rest || idle["free_pages"] != idle["pages"] || idle["wrong_end"] != "") {
    return "the prefill process did not come to rest: " + *line;
  }
  ProcessNumbers numbers = read_numbers(child_->pid());
  numbers.free_counter_slots = idle["free_counter_slots"];
  grown = child_watch_->look(numbers, decode_.through() - child_born_);
  return "";
}

std::string SoakRun::settle() {
  std::string wrong = doomed_ ? reap_doomed(baton_test::ChildProcess::kDefaultLimit) : check_rest();
  while (wrong.empty() && !is_compared()) {
    wrong = one_round(true);
    if (wrong.empty()) wrong = check_rest();
  }
  show_progress(true);
  if (!options_.quiet && decode_.through() > asked_for_) {
    std::fprintf(stderr, "%" PRIu64 " of them so that both processes could be compared\n",
                 decode_.through() - asked_for_);
  }
  return wrong;
}

std::string SoakRun::check_end() {
  const SoakTally tally = decode_.tally();
  // So many that each of these has come about: else nothing was compared.
  const bool is_long = asked_for_ >= 600;
  if (is_long && (tally.equal() == 0 || (options_.kill_every > 0 && kills_ == 0) ||
                  (options_.decode_kill_every > 0 && decode_kills_ == 0) ||
                  (options_.cancel_percent > 0 && tally.cancelled() == 0) ||
                  (options_.pull_percent > 0 && tally.pulled.equal == 0))) {
    return "it tested nothing: " + std::to_string(kills_) + " kills, " + to_json(tally).dump();
  }
  std::string wrong = decode_.check_pages();
  if (!wrong.empty()) return wrong;
  child_->close_stdin();
  const auto exit = child_->wait_exit();
  if (!exit || exit->signalled || exit->code != 0) return "the prefill process did not end well";
  if (count_zombies() > 0) return std::to_string(count_zombies()) + " zombies were left";
  decode_.close();
  return "";
}

void SoakRun::show_progress(bool is_last) {
  const int64_t now = now_ns();
  if (options_.quiet || (now - shown_ns_ < kShowEveryNs && !is_last)) return;
  shown_ns_ = now;
  const SoakTally tally = decode_.tally();
  std::fprintf(stderr,
               "[%4" PRId64 "s] %" PRIu64 " of %" PRIu64 " hand-offs (%" PRIu64 " pulled): %" PRIu64
               " equal, %" PRIu64 " cancelled, %" PRIu64 " lost to %" PRIu64
               " kills; beside them, %" PRIu64 " of decode processes that were killed\n",
               (now - start_ns_) / 1'000'000'000, tally.total(), options_.hand_offs,
               tally.pulled.total(), tally.equal(), tally.cancelled(), tally.lost(), kills_,
               doomed_tally_.total());
}

nlohmann::json SoakRun::summary() const {
  nlohmann::json summary = to_json(decode_.tally());
  summary["seed"] = options_.seed;
  summary["hand_offs_to_compare"] = decode_.through() - asked_for_;
  summary["kills"] = kills_;
  summary["killed_decode"] = to_json(doomed_tally_);
  summary["killed_decode"]["kills"] = decode_kills_;
  summary["seconds"] = static_cast<double>(now_ns() - start_ns_) / 1e9;
  summary["decode_leaks"] = own_watch_.to_json();
  summary["killed_prefill_compared"] = children_compared_;
  summary["prefill_leaks"] = child_watch_ ? child_watch_->to_json() : nlohmann::json();
  return summary;
}

}  // namespace baton_soak
