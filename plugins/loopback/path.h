// One end of a connection within the fabric: set-up and fence (path.cc), data path
// (path_datapath.cc).
//
// Posts wait in the table of the end that posted them. The *other* end takes them in its own
// progress(), on its own thread: it asks its host to resolve a chunk and copies the bytes of a
// write from the poster's memory; for a read it copies the chunk to the poster's bounce buffer,
// from where the poster's progress() brings it to its memory. So only the thread that owns memory
// writes it.
//
// Guarded by the fabric's mutex: everything that is not const after open() and connect().
#pragma once

#include <cstdint>
#include <mutex>

#include "baton/plugin/plugin.h"
#include "baton/plugin/sdk.h"
#include "plugins/loopback/kinds.h"
#include "plugins/loopback/message.h"

namespace baton_loopback {

class Fabric;
class Rail;

class Path final : public AnyPath {
 public:
  explicit Path(Rail* rail) : rail_(rail) {}
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  ~Path();

  [[nodiscard]] Rail* rail() const { return rail_; }
  [[nodiscard]] baton_rc open(const baton_path_options& options, char* error);
  void address(uint8_t* out, uint32_t* length_bytes) const override;
  [[nodiscard]] baton_rc connect(const uint8_t* peer_address, uint32_t length_bytes,
                                 char* error) override;

  baton_rc post(const baton_post* posts, uint32_t count, uint32_t* accepted) override;
  baton_rc flush(uint64_t op) override;
  void fence() override;
  void close() override;
  [[nodiscard]] bool fenced() const { return fenced_; }

  uint32_t progress(uint64_t budget_bytes);
  [[nodiscard]] bool has_work();

  Path* next = nullptr;  // the rail's list

 private:
  enum class Step : uint8_t { kNothing, kMoved, kBroken };

  // All with the mutex held.
  Message& take(MessageKind kind, uint64_t op);
  [[nodiscard]] bool due(const Message& message, int64_t now_ns) const;
  [[nodiscard]] bool flush_waits(const Message& flush) const;
  [[nodiscard]] Message* pick(int64_t now_ns, bool draw);
  [[nodiscard]] Message* pick_unordered(int64_t now_ns, bool draw);
  Step step(int64_t now_ns, uint64_t* budget_bytes);
  Step place_write(Message& message, uint64_t* budget_bytes);
  Step serve_read(Message& message, uint64_t* budget_bytes);
  bool drain_bounce(uint64_t* budget_bytes);
  void complete(Message& message, baton_op_status status);
  void sever(const char* reason, const char* peer_reason);
  void end(const char* reason);  // of this end alone

  Rail* const rail_;
  uint64_t cookie_ = 0;
  uint64_t epoch_ = 0;
  uint32_t index_ = 0;
  bool listed_ = false;
  uint32_t max_message_bytes_ = 0;

  Path* peer_ =
      nullptr;  // null before connect and after the end; both ends change together at the end
  bool fenced_ = false;
  bool broken_ = false;
  bool broken_reported_ = false;
  char reason_[BATON_ERROR_BYTES] = {};

  baton_sdk::HostArray<Message> messages_;  // of this end's posts
  baton_sdk::HostArray<uint32_t> order_;    // slots of those not yet through, in post order
  uint32_t order_count_ = 0;
  uint32_t unfinished_ = 0;  // taken and not yet reported
  uint64_t next_sequence_ = 0;
  uint32_t immediates_in_flight_ = 0;  // from this end
  baton_sdk::FixedRing<Report> reports_;

  baton_sdk::HostArray<uint8_t> bounce_;  // of this end's reads, filled by the peer
  Message* bounce_message_ = nullptr;
  uint32_t bounce_bytes_ = 0;
};

}  // namespace baton_loopback
