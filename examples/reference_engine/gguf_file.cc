#include "examples/reference_engine/gguf_file.h"

#include <cstring>
#include <utility>

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

uint64_t GgufTensor::rows() const {
  uint64_t product = 1;
  for (size_t i = 1; i < shape.size(); ++i) product *= shape[i];
  return product;
}

Result<const GgufFile::Value*> GgufFile::find(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) {
    return Status(StatusCode::kNotFound,
                  file_name_ + ": metadata key '" + std::string(key) + "' is missing");
  }
  return &found->second;
}

Status GgufFile::wrong_type(std::string_view key, std::string_view expected) const {
  return Status(StatusCode::kInvalidArgument, file_name_ + ": metadata key '" + std::string(key) +
                                                  "' is not " + std::string(expected));
}

Result<uint64_t> GgufFile::get_unsigned(std::string_view key) const {
  const auto value = find(key);
  if (!value.is_ok()) return value.status();
  if (const auto* number = std::get_if<uint64_t>(*value)) return *number;
  if (const auto* number = std::get_if<int64_t>(*value); number != nullptr && *number >= 0) {
    return static_cast<uint64_t>(*number);
  }
  return wrong_type(key, "an integer >= 0");
}

Result<double> GgufFile::get_float(std::string_view key) const {
  const auto value = find(key);
  if (!value.is_ok()) return value.status();
  if (const auto* number = std::get_if<double>(*value)) return *number;
  return wrong_type(key, "a floating-point number");
}

Result<bool> GgufFile::get_bool(std::string_view key) const {
  const auto value = find(key);
  if (!value.is_ok()) return value.status();
  if (const auto* flag = std::get_if<bool>(*value)) return *flag;
  return wrong_type(key, "a bool");
}

Result<std::string_view> GgufFile::get_string(std::string_view key) const {
  const auto value = find(key);
  if (!value.is_ok()) return value.status();
  if (const auto* text = std::get_if<std::string_view>(*value)) return *text;
  return wrong_type(key, "a string");
}

Result<GgufFile::StringArray> GgufFile::get_strings(std::string_view key) const {
  const auto value = find(key);
  if (!value.is_ok()) return value.status();
  if (const auto* strings = std::get_if<StringArray>(*value)) return *strings;
  return wrong_type(key, "an array of strings");
}

Result<std::vector<int32_t>> GgufFile::get_int32s(std::string_view key) const {
  constexpr uint32_t kUint32 = 4;
  constexpr uint32_t kInt32 = 5;
  const auto value = find(key);
  if (!value.is_ok()) return value.status();
  const auto* array = std::get_if<NumberArray>(*value);
  if (array == nullptr || (array->element_type != kUint32 && array->element_type != kInt32)) {
    return wrong_type(key, "an array of 32-bit integers");
  }
  std::vector<int32_t> numbers(array->bytes.size() / sizeof(int32_t));
  if (!numbers.empty()) std::memcpy(numbers.data(), array->bytes.data(), array->bytes.size());
  return numbers;
}

Result<const GgufTensor*> GgufFile::get_tensor(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return Status(StatusCode::kNotFound,
                  file_name_ + ": tensor '" + std::string(name) + "' is missing");
  }
  return &found->second;
}

}  // namespace baton_engine
