#include "src/section/section_table.h"

#include <cinttypes>
#include <cstdio>
#include <utility>

#include "src/base/assert.h"
#include "src/wire/validate.h"

namespace baton::section {
namespace {

std::string title(const SectionOptions& options) {
  return options.name.empty() ? "unnamed section" : "section \"" + options.name + "\"";
}

std::string hex(uint64_t value) {
  char text[2 + 16 + 1];
  (void)std::snprintf(text, sizeof(text), "0x%" PRIx64, value);
  return text;
}

}  // namespace

Status SectionTable::validate(const SectionOptions& options) const {
  if (options.name.size() > kMaxSectionNameBytes) {
    return Status(StatusCode::kInvalidArgument,
                  "section: name is " + std::to_string(options.name.size()) +
                      " bytes long, at most " + std::to_string(kMaxSectionNameBytes));
  }
  if (!wire::is_printable(options.name)) {
    return Status(StatusCode::kInvalidArgument, "a section's name has control characters: \"" +
                                                    wire::printable(options.name) + "\"");
  }
  // First: for another kind, a null address is not what is wrong.
  if (options.kind != MemoryKind::kDram) {
    return Status(StatusCode::kUnavailable, title(options) + ": kind " +
                                                std::string(memory_kind_name(options.kind)) +
                                                " is not supported by this version, only DRAM");
  }
  if (options.length_bytes == 0) {
    return Status(StatusCode::kInvalidArgument, title(options) + ": length_bytes is 0");
  }
  if (options.address == nullptr) {
    return Status(StatusCode::kInvalidArgument, title(options) + ": address is null");
  }
  const auto address = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(options.address));
  if (options.length_bytes - 1 > UINT64_MAX - address) {
    return Status(StatusCode::kInvalidArgument,
                  title(options) + ": address " + hex(address) + " + length_bytes " +
                      std::to_string(options.length_bytes) + " goes past 2^64");
  }
  for (const auto& [id, record] : records_) {
    if (!options.name.empty() && record->name() == options.name) {
      return Status(StatusCode::kInvalidArgument,
                    title(options) + ": the name is taken by section " + std::to_string(id.value));
    }
  }
  return Status::ok();
}

Result<std::shared_ptr<SectionRecord>> SectionTable::add(const SectionOptions& options) {
  const std::lock_guard<std::mutex> lock(mutex_);
  BATON_RETURN_IF_ERROR(validate(options));
  if (records_.size() >= kMaxSections || last_id_ == UINT32_MAX) {
    return Status(StatusCode::kExhausted, title(options) + ": " + std::to_string(records_.size()) +
                                              " sections are registered, at most " +
                                              std::to_string(kMaxSections));
  }
  const SectionId id(++last_id_);
  auto record = std::make_shared<SectionRecord>(id, options);
  records_.emplace(id, record);
  return record;
}

void SectionTable::remove(SectionId id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = records_.find(id);
  BATON_ASSERT(found != records_.end(), "the section to remove is not known");
  BATON_ASSERT(found->second->is_withdrawn(), "a section is withdrawn before it is removed");
  BATON_ASSERT(found->second->users() == 0, "a section is removed while it is in use");
  records_.erase(found);
}

Result<std::shared_ptr<SectionRecord>> SectionTable::find(SectionId id) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = records_.find(id);
  if (found != records_.end()) {
    if (found->second->is_open()) return found->second;
    if (found->second->is_withdrawn()) {
      return Status(StatusCode::kFailedPrecondition, found->second->describe() + " is withdrawn");
    }
  }
  return Status(StatusCode::kNotFound, "section " + std::to_string(id.value) +
                                           " is not known here (never registered, or closed)");
}

Result<std::shared_ptr<SectionRecord>> SectionTable::find(std::string_view name) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [id, record] : records_) {
    if (name.empty() || record->name() != name) continue;
    if (record->is_open()) return record;
    if (record->is_withdrawn()) {
      return Status(StatusCode::kFailedPrecondition, record->describe() + " is withdrawn");
    }
  }
  return Status(StatusCode::kNotFound,
                "no section named \"" + std::string(name) + "\" is registered here");
}

Result<SectionUse> SectionTable::acquire(SectionId id) const {
  auto record = find(id);
  if (!record.is_ok()) return record.status();
  return SectionUse::acquire(std::move(record).value());
}

std::vector<std::shared_ptr<SectionRecord>> SectionTable::all() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::shared_ptr<SectionRecord>> all;
  for (const auto& [id, record] : records_) all.push_back(record);
  return all;
}

std::vector<std::shared_ptr<SectionRecord>> SectionTable::list() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::shared_ptr<SectionRecord>> open;
  for (const auto& [id, record] : records_) {
    if (record->is_open()) open.push_back(record);
  }
  return open;
}

std::vector<SectionSnapshot> SectionTable::snapshot() const {
  std::vector<SectionSnapshot> all;
  for (const auto& record : list()) {
    all.push_back({record->id(), record->name(), record->kind(), record->location(),
                   record->length_bytes(), record->rail_keys()});
  }
  return all;
}

Status SectionTable::check_range(const SectionRange& range, std::string_view who) const {
  auto record = find(range.section);
  if (!record.is_ok()) {
    return Status(record.code(), std::string(who) + ": " + record.status().message());
  }
  return record.value()->check_range(range.offset_bytes, range.length_bytes, who);
}

}  // namespace baton::section
