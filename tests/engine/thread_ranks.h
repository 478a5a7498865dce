// Tensor-parallel ranks as threads of a test: the same meetings as between processes, by a barrier.
#pragma once

#include <array>
#include <barrier>
#include <cstdint>
#include <thread>
#include <vector>

#include "examples/reference_engine/partial_sums.h"
#include "examples/reference_engine/tensor_parts.h"

namespace baton_test {

class ThreadSums {
 public:
  explicit ThreadSums(size_t floats) {
    for (auto& turn : buffers_) {
      for (auto& one : turn) one.resize(floats);
    }
  }

  // What one rank sees.
  class Rank final : public baton_engine::PartialSums {
   public:
    explicit Rank(ThreadSums& shared) : shared_(shared) {}
    float* partial(uint32_t part) override { return shared_.buffers_[turn_ % 2][part].data(); }
    baton::Status meet() override {
      shared_.barrier_.arrive_and_wait();
      ++turn_;
      return baton::Status::ok();
    }
    const float* met(uint32_t part) const override {
      return shared_.buffers_[(turn_ - 1) % 2][part].data();
    }
    uint64_t meetings() const { return turn_; }

   private:
    ThreadSums& shared_;
    uint64_t turn_ = 0;
  };

 private:
  std::array<std::array<std::vector<float>, baton_engine::kTensorParts>, 2> buffers_;
  std::barrier<> barrier_{baton_engine::kTensorParts};
};

}  // namespace baton_test
