// One end of a connection of the modelled fabric: set-up, end and faults (model_path.cc), what is
// posted and what lands (model_datapath.cc), what the host is told (model_reports.cc).
//
// The way of a post: accepted -> it departs when the wire is free (its source is read now) -> its
// parts arrive after the latency -> hardware places them at once, software when the target's
// progress() comes to them -> the answer is back after the latency, and the op is done. tcp's
// writes are done when they departed, wherever they are.
//
// What makes an end stop taking bytes: its fence, when that has ended; a break (an error takes a
// queue pair down with what is on the way to it); the death of its process. What it had sent before
// is on the wire, and lands.
//
// Thread rule: the fabric's one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "baton/plugin/loopback.h"
#include "plugins/loopback/kinds.h"
#include "plugins/loopback/message.h"
#include "plugins/loopback/model_settings.h"

namespace baton_loopback {

class ModelFabric;
class ModelRail;

// A post from its acceptance to its report. Outlives the end that posted it while parts are on the
// way.
struct ModelPost {
  MessageKind kind = MessageKind::kWrite;
  uint64_t op = 0;
  uint64_t grant = 0;
  uint64_t key = 0;
  uint64_t address = 0;
  uint32_t length_bytes = 0;
  bool has_immediate = false;
  uint32_t immediate = 0;
  std::vector<SourceRange> sources;  // of a read: where its bytes go
  std::vector<uint8_t> data;         // on the wire; of a read: what came back
  uint64_t sequence = 0;             // counts the posts of its end
  int64_t departed_ns = 0;
  uint32_t parts_left = 0;   // hardware
  uint32_t moved_bytes = 0;  // software
  bool is_refused = false;   // a read
};
using ModelPostPtr = std::shared_ptr<ModelPost>;

class ModelPath final : public AnyPath {
 public:
  ModelPath(ModelRail* rail, const baton_path_options& options);
  ModelPath(const ModelPath&) = delete;
  ModelPath& operator=(const ModelPath&) = delete;
  ~ModelPath();

  void address(uint8_t* out, uint32_t* length_bytes) const override;
  [[nodiscard]] baton_rc connect(const uint8_t* peer_address, uint32_t length_bytes,
                                 char* error) override;
  baton_rc post(const baton_post* posts, uint32_t count, uint32_t* accepted) override;
  baton_rc flush(uint64_t op) override;
  void fence() override;
  void close() override;

  uint32_t progress(uint64_t budget_bytes);
  [[nodiscard]] bool has_work() const;
  [[nodiscard]] bool is_alive() const;
  [[nodiscard]] baton_loopback_path_info info() const;
  void fault(const baton_loopback_fault& fault);
  void process_died();

 private:
  struct Report {
    bool is_immediate = false;
    uint32_t immediate = 0;
    uint64_t sequence = 0;  // of the op
    baton_op_status status = BATON_OP_DONE;
  };

  [[nodiscard]] ModelFabric& fabric() const;
  [[nodiscard]] const ModelSettings& settings() const;
  [[nodiscard]] ModelPath* peer() const;  // null: it has gone
  // Bytes reach this end.
  [[nodiscard]] bool takes_bytes() const;
  void trace(const char* what, uint64_t a = 0, uint64_t b = 0) const;
  // `call(end)` at that time, if this end still exists then.
  template <typename Call>
  void later(int64_t at_ns, Call call);

  // model_path.cc
  void break_end(const char* reason);
  void break_both(const char* reason);
  void peer_notices(const char* reason);
  void close_endpoint();
  void finish_fence();

  // model_datapath.cc
  ModelPostPtr accept(MessageKind kind, uint64_t op);
  void depart(const ModelPostPtr& post);
  void send_parts(const ModelPostPtr& post);
  int64_t arrival_ns();
  void arrive(const ModelPostPtr& post, uint32_t from, uint32_t to);
  void try_again(const ModelPostPtr& post, uint32_t from, uint32_t to, int64_t at_ns);
  void take(const ModelPostPtr& post, uint32_t from, uint32_t to);
  void unreachable(const ModelPostPtr& post);
  void place_part(const ModelPostPtr& post, uint32_t from, uint32_t to);
  void placed(ModelPath* sender, const ModelPostPtr& post);
  void serve_read(ModelPath& sender, const ModelPostPtr& post);
  void answer_read(ModelPath& sender, const ModelPostPtr& post);
  void read_returned(const ModelPostPtr& post);
  void answer_flushes();
  void done(const ModelPostPtr& post, baton_op_status status);
  uint32_t scatter(ModelPost& post, uint32_t from, uint32_t to);

  // model_reports.cc
  uint32_t take_inbox(uint64_t* budget_bytes);
  bool place_chunk(ModelPost& post, uint64_t* budget_bytes);
  bool serve_chunk(ModelPost& post, uint64_t* budget_bytes);
  uint32_t report_all();

  ModelRail* const rail_;
  const uint64_t cookie_;
  const uint64_t epoch_;
  const uint32_t max_message_bytes_;
  uint32_t index_ = 0;
  uint32_t endpoint_ = 0;       // srd: which of the rail's
  bool endpoint_gone_ = false;  // closed for another path's sake: later paths have a new one
  uint32_t peer_index_ = UINT32_MAX;
  bool connected_ = false;
  bool broken_ = false;
  bool broken_reported_ = false;
  bool fencing_ = false;
  bool fence_ended_ = false;  // nothing can land any more; the host is told in progress()
  bool fenced_ = false;
  char reason_[BATON_ERROR_BYTES] = {};

  // Faults.
  bool is_half_dead_ = false;
  bool is_one_way_ = false;
  int64_t stalled_until_ns_ = INT64_MIN;
  int64_t full_until_ns_ = INT64_MIN;

  uint64_t next_sequence_ = 0;
  std::map<uint64_t, ModelPostPtr> out_;  // accepted and not reported, by sequence
  std::set<uint64_t> unplaced_;           // writes of this end
  std::vector<ModelPostPtr> flushes_;     // of this end, arrived at the other one
  int64_t last_arrival_ns_ = 0;           // of this end's posts
  uint32_t early_posts_ = 0;              // of the peer, that try again until this end is connected
  bool lost_early_post_ = false;  // and the peer breaks: on an ordered path nothing follows it
  uint32_t posted_receives_ = 0;
  std::deque<Report> reports_;
  std::deque<ModelPostPtr> inbox_;    // software: the peer's posts, next to be placed
  std::deque<ModelPostPtr> returns_;  // software: this end's reads, back with their bytes
};

}  // namespace baton_loopback
