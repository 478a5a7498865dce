// ReadGrantState: the source's side of a pulled hand-off, shared by the caller's handle, the
// control thread and the data thread. It is fed with chunks as a pushed Transfer is, and ends as
// one: by the other side's verdict. What differs: no byte leaves by its own doing, only the count
// of tokens that are final; and the peer may read what it permits as long as it is active.
//
// Invariants:
//  1. Tokens of a layer become final in their order: a count of n means the first n tokens of the
//     layer's group.
//  2. Of each layer final_tokens >= told, which is what was staged on live Paths, and what was
//     counted of the dead ones. A token is told again only when its Path is fenced at both ends,
//     and had not been counted.
//  3. It becomes terminal only when ops_out is 0, as every Transfer.
//
// Thread rule: per group of members, as commented.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "src/base/limits.h"
#include "src/handoff/permission_table.h"
#include "src/handoff/transfer_state.h"
#include "src/wire/messages.h"

namespace baton::handoff {

class ReadGrantState : public TransferState {
 public:
  struct Layer {
    TokenRange tokens;  // constant: of the layer's group, those that are counted
    // Data thread.
    uint32_t final_tokens = 0;
    uint32_t told = 0;

    uint32_t num_tokens() const { return tokens.end - tokens.begin; }
  };
  // Tokens, by layer, of one Path since it opened. Data thread.
  struct OnPath {
    std::vector<uint32_t> assigned;   // staged
    std::vector<uint32_t> signalled;  // accepted by the plug-in
  };

  ReadGrantState() { kind = TransferKind::kReadGrant; }

  // Its posts are immediates, which count tokens.
  void on_accepted(uint32_t path, uint64_t bytes) override;
  void on_refused(uint32_t path, uint64_t bytes) override;
  void on_signalled(uint32_t path, uint32_t ordinal, uint32_t count) override;
  void on_op_done(uint32_t path, bool is_flush, baton_op_status status) override;

  // ---- data thread
  // The reader came: `slots` are set, and what is final may be told. Allocates; nothing after it
  // does.
  void start(std::span<const wire::SlotReference> reader_slots);
  // Chunk `tokens` is final in this layer.
  void layer_final(uint32_t ordinal, TokenRange chunk);
  // `count` tokens of the layer were staged on this Path.
  void staged(uint32_t path, uint32_t ordinal, uint32_t count);
  // The Path is fenced at both ends, and the reader had counted `applied`, by layer: the rest is to
  // be told again. False, with nothing changed: it counted more than was signalled.
  [[nodiscard]] bool path_died(uint32_t path, std::span<const uint64_t> applied);
  bool is_all_told() const;
  // Something was staged for this Path since it opened.
  bool used(uint32_t path) const;
  // By layer; empty before start().
  std::span<const uint32_t> signalled_on(uint32_t path) const { return paths_[path].signalled; }

  TransferRecord record() const;

  // ---- constant
  CacheId target_cache;
  CacheId source_cache;
  std::vector<std::vector<uint32_t>> block_lists;  // the source's
  std::unique_ptr<Layer[]> told;                   // per layer

  // ---- data thread
  PermissionTable permissions;
  bool reader_started = false;
  bool has_untold = false;  // a layer may have final tokens that were not told

 private:
  std::array<OnPath, base::kMaxPathsPerPeer> paths_;
};

}  // namespace baton::handoff
