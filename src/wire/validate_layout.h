// The part of validate.h that concerns a Layout: counts, limits and enum values, so that a Layout
// that came from a peer can be handled. Whether it makes sense is for baton::validate(layout),
// which lies above this folder.
//
// Thread rule: pure functions.
#pragma once

#include <string>

#include "baton/layout.h"
#include "baton/status.h"

namespace baton::wire {

// `where` begins the message. Codes as validate().
Status validate_layout(const Layout& layout, const std::string& where);

}  // namespace baton::wire
