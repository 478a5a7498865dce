// PermittedRanges: gathers the byte ranges of a Plan's units into a Grant's PermissionTable, and
// holds the Sections that they lie in.
//
// Thread rule: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "baton/ids.h"
#include "baton/status.h"
#include "src/handoff/permission_table.h"
#include "src/section/section_table.h"

namespace baton::api {

class PermittedRanges {
 public:
  // Borrowed.
  PermittedRanges(section::SectionTable& sections, handoff::PermissionTable& permissions,
                  std::vector<section::SectionUse>& uses)
      : sections_(sections), permissions_(permissions), uses_(uses) {}

  // kFailedPrecondition, kNotFound: the Section. kOutOfRange: more ranges that do not adjoin than
  // one Grant opens.
  Status add(SectionId section, uint64_t offset_bytes, uint64_t length_bytes);
  // Once, after the last.
  void seal();

 private:
  // Of one Grant: 128 MiB. A peer that has a slice of the heads has one range a token, tensor and
  // layer.
  static constexpr size_t kMaxRanges = 1u << 22;

  section::SectionTable& sections_;
  handoff::PermissionTable& permissions_;
  std::vector<section::SectionUse>& uses_;
  std::map<SectionId, uint8_t*> memory_;
  handoff::PermissionTable::Range range_;  // grows while what is added adjoins; no section is 0
  size_t num_ranges_ = 0;
};

}  // namespace baton::api
