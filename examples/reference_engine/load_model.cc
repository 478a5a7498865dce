#include "examples/reference_engine/load_model.h"

#include <charconv>
#include <string_view>

#include "examples/reference_engine/file_bytes.h"
#include "examples/reference_engine/tiny_model.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr std::string_view kTiny = "tiny:";

// Takes a decimal number and, with `colon`, the ':' before it from the front of `text`.
template <typename Number>
bool take_number(std::string_view& text, bool colon, Number& out) {
  if (colon) {
    if (!text.starts_with(':')) return false;
    text.remove_prefix(1);
  }
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(stop - text.data()));
  return true;
}

Result<std::unique_ptr<Model>> load_tiny_model(const std::string& name, const IndexRange& parts) {
  std::string_view rest = std::string_view(name).substr(kTiny.size());
  uint64_t seed = 0;
  TinyShape shape;
  bool is_good = take_number(rest, false, seed);
  if (is_good && !rest.empty()) {
    is_good = take_number(rest, true, shape.heads) && take_number(rest, true, shape.kv_heads) &&
              rest.empty();
  }
  if (!is_good) {
    return Status(StatusCode::kInvalidArgument,
                  "model '" + name +
                      "': expected tiny:SEED with a decimal seed below 2^64, or "
                      "tiny:SEED:HEADS:KV_HEADS");
  }
  return make_tiny_model(seed, shape, parts);
}

}  // namespace

Result<std::unique_ptr<Model>> load_model(const std::string& name, ComputePool& pool,
                                          const LoadProgress& progress, const IndexRange& parts) {
  if (name.starts_with(kTiny)) return load_tiny_model(name, parts);
  const auto content = FileBytes::read(name);
  if (!content.is_ok()) return content.status();
  const auto file = GgufFile::parse(content->bytes(), name);
  if (!file.is_ok()) return file.status();
  return load_gguf_model(*file, pool, progress, parts);
}

}  // namespace baton_engine
