// FloatBuffer: an owned, cache-line-aligned array of floats, not initialised.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>

namespace baton_engine {

class FloatBuffer {
 public:
  static constexpr std::align_val_t kAlignment{64};

  FloatBuffer() = default;
  explicit FloatBuffer(size_t count)
      : data_(static_cast<float*>(::operator new[](count * sizeof(float), kAlignment))),
        count_(count) {}

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  size_t size() const { return count_; }
  std::span<float> span() { return {data_.get(), count_}; }
  std::span<const float> span() const { return {data_.get(), count_}; }

 private:
  struct Delete {
    void operator()(float* data) const { ::operator delete[](data, kAlignment); }
  };
  std::unique_ptr<float[], Delete> data_;
  size_t count_ = 0;
};

}  // namespace baton_engine
