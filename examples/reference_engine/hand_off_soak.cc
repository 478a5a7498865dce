#include "examples/reference_engine/hand_off_soak.h"

#include <algorithm>
#include <cstddef>

namespace baton_engine {

using baton::Status;

namespace {

constexpr uint64_t kSayEvery = 100;

}  // namespace

Status HandOffSoak::run() {
  uint64_t said = 0;
  for (uint64_t done = 0; done < options_.hand_offs; done = equal_ + cancelled_ + unequal_) {
    if (done / kSayEvery != said) {
      said = done / kSayEvery;
      progress_.say("hand-off " + std::to_string(done));
    }
    BATON_RETURN_IF_ERROR(run_batch(options_.hand_offs - done));
  }
  return Status::ok();
}

Status HandOffSoak::run_batch(uint64_t most) {
  const uint64_t count = std::min<uint64_t>(most, random_() % prompts_.size() + 1);
  DecodeRun how{options_.hand_off, options_.max_new_tokens, true, {}};
  std::vector<size_t> which(prompts_.size());
  for (size_t i = 0; i < which.size(); ++i) which[i] = i;
  std::shuffle(which.begin(), which.end(), random_);
  std::vector<std::vector<uint32_t>> prompts;
  std::vector<size_t> finished;  // those that are not to be cancelled
  for (uint64_t i = 0; i < count; ++i) {
    prompts.push_back(prompts_[which[i]]);
    how.cancels.push_back(choose_cancel());
    if (how.cancels.back().kind == CancelPoint::kNever) finished.push_back(which[i]);
  }
  const auto outcomes = client_.run(how, prompts);
  if (!outcomes.is_ok()) return outcomes.status();
  cancelled_ += count - finished.size();
  for (size_t i = 0; i < finished.size(); ++i) {
    const bool is_equal = i < outcomes->size() && is_equal_(finished[i], (*outcomes)[i]);
    ++(is_equal ? equal_ : unequal_);
  }
  return Status::ok();
}

CancelPoint HandOffSoak::choose_cancel() {
  if (random_() % 100 >= options_.cancel_percent) return {};
  switch (random_() % 4) {
    case 0:
      return {CancelPoint::kBeforeRequest, 0};
    case 1:
      return {CancelPoint::kAfterRequest, 0};
    default:
      return {CancelPoint::kAtLayer, static_cast<uint32_t>(random_() % layers_)};
  }
}

std::string HandOffSoak::summary() const {
  return "hand-offs: " + std::to_string(equal_) + " equal, " + std::to_string(cancelled_) +
         " cancelled, " + std::to_string(unequal_) + " unequal of " +
         std::to_string(options_.hand_offs);
}

}  // namespace baton_engine
