// What Baton can use on this machine, for baton-doctor and for programs that choose a transport;
// and what a Context of another process is doing.
//
// Thread rule: pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/dump.h"
#include "baton/export.h"
#include "baton/options.h"
#include "baton/status.h"

namespace baton {

// One plug-in, linked in or loaded from ContextOptions::plugin_files.
struct PluginReport {
  std::string name;  // "tcp"; the file's path when it could not be loaded
  std::string summary;
  bool usable = false;      // a rail can be opened here
  bool in_process = false;  // reaches peers of this process only
  std::string reason;       // when not usable: why
  std::string remedy;       // and what to do about it
  // Short texts such as "ordered", "immediates of 32 bits", "messages up to 67108864 bytes"; empty
  // when not usable.
  std::vector<std::string> capabilities;
};

// Asks each plug-in whether it is usable; of those that are, opens a rail for a moment to learn its
// capabilities. A plug-in that `options.rails` names is asked with that rail's device and settings,
// the others with their defaults. Allocates, and may take as long as a driver takes.
BATON_EXPORT std::vector<PluginReport> inspect_plugins(const ContextOptions& options);

struct DumpQuery {
  std::string address;      // Context::address()
  std::string secret_file;  // its; empty: it has none
  uint32_t timeout_ms = 5000;
  DumpFormat format = DumpFormat::kText;
};

// Context::dump() of a running Context, over its control port, as an observer: it is no peer, opens
// no Path and takes nobody's name. The Context's control thread answers, also while its data path
// stands still. Blocks at most timeout_ms (and in the resolver). kInvalidArgument: the address, or
// the secret file; kNotFound: the host, or the secret file; kPermissionDenied: another secret, or
// only one side has one; kUnavailable: nobody listens; kDeadlineExceeded: no answer, as of a
// process that is stopped; kMismatch: another Context is at that address, or one that serves no
// observers; kExhausted: it serves 4 others; kPeerLost, kProtocolError, kIoError.
BATON_EXPORT Result<std::string> fetch_dump(const DumpQuery& query);

}  // namespace baton
