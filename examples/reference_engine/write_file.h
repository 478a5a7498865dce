// write_file: results that are on the disk whole, or not at all.
#pragma once

#include <string>
#include <string_view>

#include "baton/status.h"

namespace baton_engine {

// Writes `bytes` to a temporary file beside `path`, flushes it to the disk and renames it, so that
// a failure leaves what was there before, and no rest. A symbolic link is followed; a file that is
// replaced keeps its permissions. What is there and no regular file (a pipe, /dev/null) is written
// directly; /dev/stdout, /dev/stderr and /dev/fd/N continue that descriptor, so flush it first.
// kIoError: the path, the failed call and its errno.
baton::Status write_file(const std::string& path, std::string_view bytes);

}  // namespace baton_engine
