#include "src/api/permitted_ranges.h"

#include <string>

namespace baton::api {

Status PermittedRanges::add(SectionId section, uint64_t offset_bytes, uint64_t length_bytes) {
  if (section.value == range_.section && offset_bytes == range_.end) {
    range_.end += length_bytes;
    return Status::ok();
  }
  if (num_ranges_++ > 0) permissions_.add(range_);
  if (num_ranges_ > kMaxRanges) {
    return Status(StatusCode::kOutOfRange,
                  "the grant opens more than " + std::to_string(kMaxRanges) +
                      " ranges of memory that do not adjoin: grant fewer tokens at a time, or "
                      "let both caches hold the same heads");
  }
  auto [held, is_new] = memory_.try_emplace(section, nullptr);
  if (is_new) {
    auto use = sections_.acquire(section);
    if (!use.is_ok()) return use.status();
    held->second = static_cast<uint8_t*>((*use)->address());
    uses_.push_back(std::move(use).value());
  }
  range_ = {section.value, offset_bytes, offset_bytes + length_bytes, held->second};
  return Status::ok();
}

void PermittedRanges::seal() {
  if (num_ranges_ > 0) permissions_.add(range_);
  permissions_.seal();
}

}  // namespace baton::api
