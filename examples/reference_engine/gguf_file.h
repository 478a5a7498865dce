// GgufFile: the parsed header of a GGUF model file (versions 2 and 3, little-endian): typed
// metadata and the places of the tensors. Nothing is copied: strings, arrays and tensors point into
// the bytes given, which must outlive it.
//
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
//
// Invariants after parse():
//  1. Every string, array and tensor lies wholly inside the bytes given.
//  2. Keys and tensor names are unique; a tensor's size follows from its type and shape.
//
// Errors name the file, the offset in it, what was expected and what was found. Bad content is
// kInvalidArgument; a length or an offset past the end, as in a file cut short, is kOutOfRange.
// Thread rule: const use from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "baton/status.h"

namespace baton_engine {

// The numbers of the format. Types that the engine cannot read are not listed.
// NOLINTBEGIN(readability-identifier-naming): the format's own names.
enum class TensorType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ8_0 = 8,
  kBF16 = 30,
};
// NOLINTEND(readability-identifier-naming)

struct GgufTensor {
  std::string_view name;
  TensorType type = TensorType::kF32;
  // Innermost dimension first, as in the file: {columns, rows, ...}. One to four, each >= 1.
  std::vector<uint64_t> shape;
  std::span<const uint8_t> bytes;

  uint64_t columns() const { return shape[0]; }
  // The product of the other dimensions.
  uint64_t rows() const;
};

class GgufFile {
 public:
  // Elements of an integer, float or bool array, as they lie in the file (unaligned).
  struct NumberArray {
    uint32_t element_type = 0;  // GGUF's number for it
    std::span<const uint8_t> bytes;
  };
  using StringArray = std::vector<std::string_view>;
  // int64_t also holds the narrower integers; double holds float, too.
  using Value =
      std::variant<uint64_t, int64_t, double, bool, std::string_view, NumberArray, StringArray>;

  // `file_name` is used in messages only.
  static baton::Result<GgufFile> parse(std::span<const uint8_t> bytes, std::string file_name);

  const std::string& file_name() const { return file_name_; }
  const std::map<std::string_view, Value>& metadata() const { return metadata_; }
  const std::map<std::string_view, GgufTensor>& tensors() const { return tensors_; }
  bool has(std::string_view key) const { return metadata_.contains(key); }

  // kNotFound when the key is missing, kInvalidArgument when its type is another or the value does
  // not fit.
  baton::Result<uint64_t> get_unsigned(std::string_view key) const;
  baton::Result<double> get_float(std::string_view key) const;
  baton::Result<bool> get_bool(std::string_view key) const;
  baton::Result<std::string_view> get_string(std::string_view key) const;
  baton::Result<StringArray> get_strings(std::string_view key) const;
  // An array of 32-bit integers.
  baton::Result<std::vector<int32_t>> get_int32s(std::string_view key) const;
  // kNotFound when there is none.
  baton::Result<const GgufTensor*> get_tensor(std::string_view name) const;

 private:
  friend class GgufParser;
  GgufFile() = default;

  baton::Result<const Value*> find(std::string_view key) const;
  baton::Status wrong_type(std::string_view key, std::string_view expected) const;

  std::string file_name_;
  std::map<std::string_view, Value> metadata_;
  std::map<std::string_view, GgufTensor> tensors_;
};

}  // namespace baton_engine
