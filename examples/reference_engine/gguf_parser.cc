// GgufFile::parse: every length and index is checked against the bytes that are left before use.
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "examples/reference_engine/dequantize.h"
#include "examples/reference_engine/gguf_file.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

static_assert(std::endian::native == std::endian::little, "GGUF numbers are read as they lie");

namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxEntries = 1 << 16;
constexpr uint64_t kMaxNameBytes = 1 << 16;
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kMaxAlignment = 1 << 20;

// The format's numbers of metadata types.
enum class ValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// 0 for types without a fixed size and for unknown ones.
uint64_t value_size_bytes(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool:
      return 1;
    case ValueType::kUint16:
    case ValueType::kInt16:
      return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64:
      return 8;
    case ValueType::kString:
    case ValueType::kArray:
      break;
  }
  return 0;
}

// The product, or the largest number when it has no room: for messages about absurd lengths.
uint64_t multiply_or_max(uint64_t a, uint64_t b) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  return b != 0 && a > kMax / b ? kMax : a * b;
}

}  // namespace

class GgufParser {
 public:
  GgufParser(std::span<const uint8_t> bytes, std::string file_name) : bytes_(bytes) {
    file_.file_name_ = std::move(file_name);
  }

  Result<GgufFile> parse() {
    BATON_RETURN_IF_ERROR(read_header());
    for (uint64_t i = 0; i < metadata_count_; ++i) BATON_RETURN_IF_ERROR(read_metadata());
    BATON_RETURN_IF_ERROR(read_alignment());
    for (uint64_t i = 0; i < tensor_count_; ++i) BATON_RETURN_IF_ERROR(read_tensor());
    BATON_RETURN_IF_ERROR(place_tensors());
    return std::move(file_);
  }

 private:
  struct PlacedTensor {
    GgufTensor tensor;
    uint64_t offset_bytes = 0;  // from the start of the data area
    uint64_t length_bytes = 0;
  };

  uint64_t left_bytes() const { return bytes_.size() - at_; }

  Status bad(uint64_t offset, const std::string& what) const {
    return Status(StatusCode::kInvalidArgument,
                  file_.file_name_ + ": offset " + std::to_string(offset) + ": " + what);
  }

  Status cut_short(const std::string& what, uint64_t needed_bytes) const {
    return Status(StatusCode::kOutOfRange,
                  file_.file_name_ + ": offset " + std::to_string(at_) + ": " + what + " needs " +
                      std::to_string(needed_bytes) + " bytes, the file has " +
                      std::to_string(left_bytes()) + " more (is it cut short?)");
  }

  template <typename T>
  Status read(T& out, const char* what) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (left_bytes() < sizeof(T)) return cut_short(what, sizeof(T));
    std::memcpy(&out, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return Status::ok();
  }

  Status read_string(std::string_view& out, const char* what) {
    uint64_t length_bytes = 0;
    BATON_RETURN_IF_ERROR(read(length_bytes, what));
    if (length_bytes > left_bytes()) return cut_short(what, length_bytes);
    out = {reinterpret_cast<const char*>(bytes_.data() + at_), static_cast<size_t>(length_bytes)};
    at_ += length_bytes;
    return Status::ok();
  }

  Status read_name(std::string_view& out, const char* what) {
    const uint64_t start = at_;
    BATON_RETURN_IF_ERROR(read_string(out, what));
    if (out.empty() || out.size() > kMaxNameBytes) {
      return bad(start, std::string(what) + " of " + std::to_string(out.size()) +
                            " bytes; expected 1 to " + std::to_string(kMaxNameBytes));
    }
    return Status::ok();
  }

  Status read_header() {
    uint32_t magic = 0;
    uint32_t version = 0;
    BATON_RETURN_IF_ERROR(read(magic, "the magic number"));
    if (magic != kMagic) return bad(0, "not a GGUF file: it does not begin with 'GGUF'");
    BATON_RETURN_IF_ERROR(read(version, "the version"));
    if (version != 2 && version != 3) {
      return bad(4, "GGUF version " + std::to_string(version) + "; expected 2 or 3, little-endian");
    }
    BATON_RETURN_IF_ERROR(read(tensor_count_, "the number of tensors"));
    BATON_RETURN_IF_ERROR(read(metadata_count_, "the number of metadata entries"));
    if (tensor_count_ > kMaxEntries || metadata_count_ > kMaxEntries) {
      return bad(8, std::to_string(tensor_count_) + " tensors and " +
                        std::to_string(metadata_count_) + " metadata entries; at most " +
                        std::to_string(kMaxEntries) + " of each are read");
    }
    return Status::ok();
  }

  Status read_metadata() {
    const uint64_t start = at_;
    std::string_view key;
    BATON_RETURN_IF_ERROR(read_name(key, "a metadata key"));
    uint32_t type = 0;
    BATON_RETURN_IF_ERROR(read(type, "a metadata type"));
    GgufFile::Value value;
    BATON_RETURN_IF_ERROR(read_value(static_cast<ValueType>(type), value));
    if (!file_.metadata_.emplace(key, std::move(value)).second) {
      return bad(start, "metadata key '" + std::string(key) + "' occurs twice");
    }
    return Status::ok();
  }

  template <typename Stored, typename Kept>
  Status read_number(GgufFile::Value& out) {
    Stored stored = {};
    BATON_RETURN_IF_ERROR(read(stored, "a metadata value"));
    out = static_cast<Kept>(stored);
    return Status::ok();
  }

  Status read_value(ValueType type, GgufFile::Value& out) {
    switch (type) {
      case ValueType::kUint8:
        return read_number<uint8_t, uint64_t>(out);
      case ValueType::kInt8:
        return read_number<int8_t, int64_t>(out);
      case ValueType::kUint16:
        return read_number<uint16_t, uint64_t>(out);
      case ValueType::kInt16:
        return read_number<int16_t, int64_t>(out);
      case ValueType::kUint32:
        return read_number<uint32_t, uint64_t>(out);
      case ValueType::kInt32:
        return read_number<int32_t, int64_t>(out);
      case ValueType::kFloat32:
        return read_number<float, double>(out);
      case ValueType::kUint64:
        return read_number<uint64_t, uint64_t>(out);
      case ValueType::kInt64:
        return read_number<int64_t, int64_t>(out);
      case ValueType::kFloat64:
        return read_number<double, double>(out);
      case ValueType::kBool: {
        uint8_t flag = 0;
        BATON_RETURN_IF_ERROR(read(flag, "a metadata value"));
        if (flag > 1) return bad(at_ - 1, "a bool of " + std::to_string(flag) + "; expected 0, 1");
        out = flag == 1;
        return Status::ok();
      }
      case ValueType::kString: {
        std::string_view text;
        BATON_RETURN_IF_ERROR(read_string(text, "a metadata string"));
        out = text;
        return Status::ok();
      }
      case ValueType::kArray:
        return read_array(out);
    }
    return bad(at_ - 4, "metadata type " + std::to_string(static_cast<uint32_t>(type)) +
                            "; expected 0 to 12");
  }

  Status read_array(GgufFile::Value& out) {
    uint32_t element_type = 0;
    uint64_t count = 0;
    BATON_RETURN_IF_ERROR(read(element_type, "an array's type"));
    BATON_RETURN_IF_ERROR(read(count, "an array's length"));
    if (static_cast<ValueType>(element_type) == ValueType::kString) {
      // Each string has a length of eight bytes, which bounds the allocation.
      if (count > left_bytes() / sizeof(uint64_t)) {
        return cut_short("an array of " + std::to_string(count) + " strings",
                         multiply_or_max(count, sizeof(uint64_t)));
      }
      GgufFile::StringArray strings(static_cast<size_t>(count));
      for (std::string_view& text : strings) {
        BATON_RETURN_IF_ERROR(read_string(text, "a string of an array"));
      }
      out = std::move(strings);
      return Status::ok();
    }
    const uint64_t element_bytes = value_size_bytes(static_cast<ValueType>(element_type));
    if (element_bytes == 0) {
      return bad(at_ - 12, "an array of type " + std::to_string(element_type) +
                               "; expected numbers, bools or strings");
    }
    if (count > left_bytes() / element_bytes) {
      return cut_short("an array of " + std::to_string(count) + " numbers",
                       multiply_or_max(count, element_bytes));
    }
    const uint64_t length_bytes = count * element_bytes;
    out = GgufFile::NumberArray{element_type, bytes_.subspan(at_, length_bytes)};
    at_ += length_bytes;
    return Status::ok();
  }

  Status read_alignment() {
    constexpr std::string_view kKey = "general.alignment";
    if (!file_.has(kKey)) return Status::ok();
    const auto alignment = file_.get_unsigned(kKey);
    if (!alignment.is_ok()) return alignment.status();
    if (!std::has_single_bit(*alignment) || *alignment > kMaxAlignment) {
      return bad(0, "general.alignment is " + std::to_string(*alignment) +
                        "; expected a power of two up to " + std::to_string(kMaxAlignment));
    }
    alignment_bytes_ = *alignment;
    return Status::ok();
  }

  Status read_tensor() {
    const uint64_t start = at_;
    PlacedTensor placed;
    BATON_RETURN_IF_ERROR(read_name(placed.tensor.name, "a tensor's name"));
    const std::string name(placed.tensor.name);
    uint32_t dimensions = 0;
    BATON_RETURN_IF_ERROR(read(dimensions, "a tensor's number of dimensions"));
    if (dimensions == 0 || dimensions > kMaxDimensions) {
      return bad(start, "tensor '" + name + "' has " + std::to_string(dimensions) +
                            " dimensions; expected 1 to " + std::to_string(kMaxDimensions));
    }
    placed.tensor.shape.resize(dimensions);
    for (uint64_t& extent : placed.tensor.shape) {
      BATON_RETURN_IF_ERROR(read(extent, "a tensor's dimension"));
    }
    uint32_t type = 0;
    BATON_RETURN_IF_ERROR(read(type, "a tensor's type"));
    BATON_RETURN_IF_ERROR(read(placed.offset_bytes, "a tensor's offset"));
    const auto length_bytes = tensor_length_bytes(type, placed.tensor.shape);
    if (!length_bytes.is_ok()) {
      return bad(start, "tensor '" + name + "': " + length_bytes.status().message());
    }
    placed.tensor.type = static_cast<TensorType>(type);
    placed.length_bytes = *length_bytes;
    if (placed.offset_bytes % alignment_bytes_ != 0) {
      return bad(start, "tensor '" + name + "' lies at " + std::to_string(placed.offset_bytes) +
                            ", which is no multiple of " + std::to_string(alignment_bytes_));
    }
    placed_.push_back(std::move(placed));
    return Status::ok();
  }

  Status place_tensors() {
    const uint64_t padding = (alignment_bytes_ - at_ % alignment_bytes_) % alignment_bytes_;
    if (placed_.empty()) return Status::ok();
    if (padding > left_bytes()) return cut_short("the padding before the tensors", padding);
    at_ += padding;
    for (PlacedTensor& placed : placed_) {
      const std::string name(placed.tensor.name);
      if (placed.offset_bytes > left_bytes() ||
          placed.length_bytes > left_bytes() - placed.offset_bytes) {
        return cut_short("tensor '" + name + "' (" + std::to_string(placed.length_bytes) +
                             " bytes at " + std::to_string(placed.offset_bytes) + ")",
                         placed.length_bytes);
      }
      placed.tensor.bytes = bytes_.subspan(at_ + placed.offset_bytes, placed.length_bytes);
      const std::string_view key = placed.tensor.name;
      if (!file_.tensors_.emplace(key, std::move(placed.tensor)).second) {
        return bad(at_, "tensor '" + name + "' occurs twice");
      }
    }
    return Status::ok();
  }

  const std::span<const uint8_t> bytes_;
  uint64_t at_ = 0;
  uint64_t alignment_bytes_ = 32;  // the format's default
  uint64_t tensor_count_ = 0;
  uint64_t metadata_count_ = 0;
  std::vector<PlacedTensor> placed_;
  GgufFile file_;
};

Result<GgufFile> GgufFile::parse(std::span<const uint8_t> bytes, std::string file_name) {
  return GgufParser(bytes, std::move(file_name)).parse();
}

}  // namespace baton_engine
