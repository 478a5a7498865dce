// EngineOptions: the command line of baton-engine, checked.
//
// Thread rule: a value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "baton/context.h"
#include "baton/status.h"
#include "examples/reference_engine/kv_pool.h"

namespace baton_engine {

// What baton-engine ends with.
enum ExitCode : int {
  kExitEqual = 0,
  kExitUnequal = 1,
  kExitBadInput = 2,
  kExitPeerLost = 3,  // or never there, or its deadline passed
  kExitInterrupted = 130,
};

int exit_code_of(const baton::Status& status);

enum class EngineMode : uint8_t {
  kRun,         // starts a prefill process, and is the decode process itself
  kMonolithic,  // one process, no hand-off
  kPrefill,     // serves decode processes
  kDecode,      // asks a prefill process that runs already
  kRank,        // a tensor-parallel rank of another process, which started it
};

enum class Side : uint8_t { kPrefill, kDecode };

// When prefill hands layers over.
enum class HandOff : uint8_t {
  kPush,       // each as soon as its KV is final
  kPull,       // decode reads each as soon as its KV is final
  kPushAfter,  // all of them after prefill
  kPaced,      // after prefill, one at a time with a pause: what one layer costs alone
  kNone,       // never: what prefill costs alone
};

std::string_view hand_off_name(HandOff hand_off);
// kInvalidArgument lists the names.
baton::Result<HandOff> parse_hand_off(std::string_view name);

struct EngineOptions {
  EngineMode mode = EngineMode::kRun;
  std::string model;
  std::string prompt;  // the bytes, wherever they came from
  bool chat = false;
  uint32_t max_new_tokens = 48;
  HandOff hand_off = HandOff::kPush;
  uint32_t requests = 1;  // request i drops the first i tokens of the prompt
  uint32_t rounds = 1;    // of each mode, in turn, before the run that is reported; check: 0
  // Back to back instead of a report: that many, of which some are cancelled at random points.
  uint32_t hand_offs = 0;
  uint32_t cancel_percent = 0;
  uint64_t seed = 0;
  bool check_pages = false;  // that nobody writes to pages between two requests
  bool measure_layer = false;
  uint32_t pause_ms = 5;  // before each layer of that measurement; longer than one takes

  // Equal on both sides, because the bits depend on them.
  std::string kv_dtype = "bf16";
  uint32_t chunk_tokens = 256;

  uint32_t block_tokens = 16;
  uint32_t decode_block_tokens = 0;  // of the decode side; 0: as block_tokens
  uint32_t threads = 0;              // 0: as many as there are cores
  uint32_t pool_tokens = 0;          // of the prefill side; 0: the model's context
  uint32_t deadline_ms = 120'000;    // of one request

  // Tensor-parallel ranks of each side, 1 or 3; the process itself is rank 0.
  uint32_t prefill_tp = 1;
  uint32_t decode_tp = 1;

  std::string transport = "tcp";
  std::string listen_host = "127.0.0.1";
  uint16_t listen_port = 0;
  bool once = false;    // prefill: end when the first peer is gone
  std::string connect;  // decode: the prefill side's address
  std::string secret_file;
  bool allow_unauthenticated = false;

  bool verdict_only = false;  // check: print what was compared and how it ended, no more
  std::string json_path;
  std::string timeline_dir;
  bool quiet = false;
  bool errors_only = false;  // of what Baton logs: cancelled requests are no news here

  // kRank: whose rank it is, and the descriptors that it was given.
  Side side = Side::kPrefill;
  uint32_t rank = 0;
  int sums_fd = -1;
  int pipe_fd = -1;
  uint32_t pool_blocks = 0;

  // Ranks of the side that this process belongs to. REQUIRES: neither kRun nor kMonolithic.
  uint32_t ranks() const;
  KvType kv_type() const { return kv_dtype == "f32" ? KvType::kFloat32 : KvType::kBFloat16; }
  // Of the Context of a side called `role`.
  baton::ContextOptions context_options(std::string_view role) const;
};

struct ParsedCommandLine {
  EngineOptions options;
  bool wants_exit = false;  // --help or --version was printed
};

// kInvalidArgument / kIoError names the argument and what is wrong with it.
baton::Result<ParsedCommandLine> parse_command_line(int count, const char* const* arguments);

}  // namespace baton_engine
