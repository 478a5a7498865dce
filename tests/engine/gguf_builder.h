// GgufBuilder: writes small GGUF files, good and bad, for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace baton_test {

class GgufBuilder {
 public:
  struct Tensor {
    std::string name;
    std::vector<uint64_t> shape;
    uint32_t type = 0;
    std::vector<uint8_t> bytes;
  };

  uint32_t magic = 0x46554747;
  uint32_t version = 3;

  void add_u32(std::string_view key, uint32_t value) { add_number(key, 4, value); }
  void add_f32(std::string_view key, float value) { add_number(key, 6, value); }
  void add_bool(std::string_view key, uint8_t value) { add_number(key, 7, value); }
  void add_string(std::string_view key, std::string_view value) {
    put_string(metadata_, key);
    put(metadata_, uint32_t{8});
    put_string(metadata_, value);
    ++metadata_count_;
  }
  void add_strings(std::string_view key, const std::vector<std::string>& values) {
    begin_array(key, 8, values.size());
    for (const std::string& value : values) put_string(metadata_, value);
  }
  void add_i32s(std::string_view key, const std::vector<int32_t>& values) {
    begin_array(key, 5, values.size());
    for (const int32_t value : values) put(metadata_, value);
  }
  // Any bytes as a metadata value of any type number.
  void add_raw(std::string_view key, uint32_t type, const std::vector<uint8_t>& bytes) {
    put_string(metadata_, key);
    put(metadata_, type);
    metadata_.insert(metadata_.end(), bytes.begin(), bytes.end());
    ++metadata_count_;
  }
  void add_tensor(Tensor tensor) { tensors_.push_back(std::move(tensor)); }
  void add_f32_tensor(std::string name, std::vector<uint64_t> shape,
                      const std::vector<float>& values) {
    std::vector<uint8_t> bytes(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    add_tensor({std::move(name), std::move(shape), 0, std::move(bytes)});
  }

  std::vector<uint8_t> build() const {
    std::vector<uint8_t> file;
    put(file, magic);
    put(file, version);
    put(file, uint64_t{tensors_.size()});
    put(file, metadata_count_);
    file.insert(file.end(), metadata_.begin(), metadata_.end());
    uint64_t offset = 0;
    for (const Tensor& tensor : tensors_) {
      put_string(file, tensor.name);
      put(file, static_cast<uint32_t>(tensor.shape.size()));
      for (const uint64_t extent : tensor.shape) put(file, extent);
      put(file, tensor.type);
      put(file, offset);
      offset += (tensor.bytes.size() + kAlignment - 1) / kAlignment * kAlignment;
    }
    for (const Tensor& tensor : tensors_) {
      file.resize((file.size() + kAlignment - 1) / kAlignment * kAlignment);
      file.insert(file.end(), tensor.bytes.begin(), tensor.bytes.end());
    }
    return file;
  }

  template <typename T>
  static void put(std::vector<uint8_t>& out, T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const size_t at = out.size();
    out.resize(at + sizeof(T));
    std::memcpy(out.data() + at, &value, sizeof(T));
  }
  static void put_string(std::vector<uint8_t>& out, std::string_view text) {
    put(out, uint64_t{text.size()});
    out.insert(out.end(), text.begin(), text.end());
  }

 private:
  static constexpr size_t kAlignment = 32;

  template <typename T>
  void add_number(std::string_view key, uint32_t type, T value) {
    put_string(metadata_, key);
    put(metadata_, type);
    put(metadata_, value);
    ++metadata_count_;
  }
  void begin_array(std::string_view key, uint32_t type, size_t count) {
    put_string(metadata_, key);
    put(metadata_, uint32_t{9});
    put(metadata_, type);
    put(metadata_, uint64_t{count});
    ++metadata_count_;
  }

  std::vector<uint8_t> metadata_;
  uint64_t metadata_count_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace baton_test
