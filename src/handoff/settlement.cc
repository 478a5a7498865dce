#include "src/handoff/settlement.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/base/mutant.h"

namespace baton::handoff {

using base::Mutant;
using base::mutant_is;

void Settlement::open(uint32_t num_layers) {
  constexpr size_t kRunsPerLayer = 8;
  num_layers_ = num_layers;
  assigned_.assign(size_t{base::kMaxPathsPerPeer} * num_layers, 0);
  signalled_.assign(size_t{base::kMaxPathsPerPeer} * num_layers, 0);
  lost_.assign(num_layers, 0);
  committed_.assign(num_layers, 0);
  runs_.reserve(num_layers * kRunsPerLayer);
}

void Settlement::staged(uint32_t path, TokenRange chunk, uint32_t layer, uint32_t index) {
  used_ |= 1u << path;
  ++assigned_[at(path, layer)];
  if (!runs_.empty()) {
    Run& last = runs_.back();
    if (last.path == path && last.layer == layer && last.chunk == chunk &&
        last.first + last.count == index) {
      ++last.count;
      return;
    }
  }
  runs_.push_back({chunk, layer, index, 1, path});
}

void Settlement::signalled(uint32_t path, uint32_t layer, uint32_t units) {
  signalled_[at(path, layer)] += units;
}

bool Settlement::path_died(uint32_t path, std::span<const uint64_t> applied) {
  for (uint32_t layer = 0; layer < num_layers_; ++layer) {
    if (applied[layer] > assigned_[at(path, layer)]) return false;
  }
  for (uint32_t layer = 0; layer < num_layers_; ++layer) {
    lost_[layer] += assigned_[at(path, layer)] - applied[layer];
    assigned_[at(path, layer)] = 0;
    signalled_[at(path, layer)] = 0;
  }
  for (Run& run : runs_) {
    if (run.path == path) run.path = kLost;
  }
  used_ &= ~(1u << path);
  // Nothing lands on it any more, so that no flush is needed there.
  wrote_ &= ~(1u << path);
  flush_posted_ &= ~(1u << path);
  forget_settled();
  restart();
  return true;
}

// Of a slot that owes nothing every unit that went over dead Paths was applied, or is settled: its
// pages may be in use.
void Settlement::forget_settled() {
  is_due_ = false;
  for (uint32_t layer = 0; layer < num_layers_; ++layer) is_due_ = is_due_ || owed(layer) > 0;
  if (mutant_is(Mutant::kRewriteOwedZero)) {
    is_due_ = is_due_ || std::any_of(runs_.begin(), runs_.end(),
                                     [](const Run& run) { return run.path == kLost; });
    return;
  }
  std::erase_if(runs_,
                [this](const Run& run) { return run.path == kLost && owed(run.layer) == 0; });
}

void Settlement::restart() {
  run_ = 0;
  done_in_run_ = 0;
  cursor_open_ = false;
  unit_ready_ = false;
}

bool Settlement::next(const kv::Plan& plan, kv::Unit* unit) {
  while (!unit_ready_) {
    if (run_ == runs_.size()) return false;
    const Run& run = runs_[run_];
    if (run.path != kLost || done_in_run_ == run.count) {
      ++run_;
      done_in_run_ = 0;
      cursor_open_ = false;
      continue;
    }
    if (!cursor_open_) {
      cursor_ = plan.cursor(run.layer, run.chunk);
      for (uint32_t i = 0; i < run.first; ++i) {
        const bool has_one = cursor_.next(unit_);
        BATON_ASSERT(has_one, "a run names units that were staged");
      }
      cursor_open_ = true;
    }
    unit_ready_ = cursor_.next(unit_);
    BATON_ASSERT(unit_ready_, "a run names units that were staged");
  }
  *unit = unit_;
  return true;
}

void Settlement::wrote(uint32_t path, uint64_t bytes) {
  wrote_ |= 1u << path;
  flush_posted_ &= ~(1u << path);
  unit_ready_ = false;
  ++done_in_run_;
  bytes_rewritten.fetch_add(bytes, std::memory_order_relaxed);
}

uint32_t Settlement::unflushed() const {
  uint32_t paths = wants_flush();
  for (uint32_t path = 0; path < base::kMaxPathsPerPeer; ++path) {
    if ((wrote_ >> path & 1) != 0 && flushes_out_[path] > 0) paths |= 1u << path;
  }
  return paths;
}

std::vector<std::pair<uint32_t, uint64_t>> Settlement::commit() {
  std::vector<std::pair<uint32_t, uint64_t>> settled;
  for (uint32_t layer = 0; layer < num_layers_; ++layer) {
    if (owed(layer) == 0) continue;
    settled.emplace_back(layer, owed(layer));
    units_settled.fetch_add(owed(layer), std::memory_order_relaxed);
    committed_[layer] = lost_[layer];
  }
  wrote_ = 0;
  flush_posted_ = 0;
  std::erase_if(runs_, [](const Run& run) { return run.path == kLost; });
  is_due_ = false;
  restart();
  settlements.fetch_add(1, std::memory_order_relaxed);
  return settled;
}

void Settlement::on_accepted(uint32_t path, uint64_t bytes) {
  ++ops_out_;
  if (bytes == 0) ++flushes_out_[path];
}

void Settlement::on_refused(uint32_t path, uint64_t bytes) {
  --ops_out_;
  if (bytes == 0) --flushes_out_[path];
}

void Settlement::on_op_done(uint32_t path, bool is_flush, baton_op_status status) {
  BATON_ASSERT(ops_out_ > 0, "no more ops end than were accepted");
  --ops_out_;
  if (!is_flush) return;
  --flushes_out_[path];
  // The Path ends: nothing tells of what it carried, until it is fenced at both ends.
  if (status != BATON_OP_DONE) flush_posted_ &= ~(1u << path);
}

}  // namespace baton::handoff
