// Sizes as people write them: "4096", "64KiB", "1MiB", "2G".
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "baton/status.h"

namespace baton_perf {

// K, M, G with or without "iB": powers of 1024. kInvalidArgument: says what is allowed.
baton::Result<uint64_t> parse_size(std::string_view text);
// "64 KiB", "1 MiB", "1.5 GiB", "100 B".
std::string format_size(uint64_t bytes);

}  // namespace baton_perf
