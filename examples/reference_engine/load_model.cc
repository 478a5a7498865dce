#include "examples/reference_engine/load_model.h"

#include <charconv>
#include <string_view>

#include "examples/reference_engine/file_bytes.h"
#include "examples/reference_engine/tiny_model.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

Result<std::unique_ptr<Model>> load_model(const std::string& name, ComputePool& pool,
                                          const LoadProgress& progress) {
  constexpr std::string_view kTiny = "tiny:";
  if (name.starts_with(kTiny)) {
    uint64_t seed = 0;
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + kTiny.size(), end, seed);
    if (error != std::errc() || stop != end) {
      return Status(StatusCode::kInvalidArgument,
                    "model '" + name + "': expected tiny:SEED with a decimal seed below 2^64");
    }
    return make_tiny_model(seed);
  }
  const auto content = FileBytes::read(name);
  if (!content.is_ok()) return content.status();
  const auto file = GgufFile::parse(content->bytes(), name);
  if (!file.is_ok()) return file.status();
  return load_gguf_model(*file, pool, progress);
}

}  // namespace baton_engine
