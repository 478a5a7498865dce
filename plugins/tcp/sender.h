// The outgoing direction of a path: posts and owed answers -> frames -> sendmsg, straight from
// source memory.
//
// Invariants:
//  1. The frames of posts leave in post order; answers leave in the order of the requests. Between
//  the two the sender takes
//     turns, so that neither starves the other.
//  2. The source bytes of a write are read only by sendmsg, and its op is in reports() as soon as
//  its last byte (of a write without bytes: its header) went into
//     the kernel.
//  3. The bytes of an answer are resolved in the call that sends them: a Grant that ends half-way
//  fills the rest of the
//     frame with zeros and the read ends as refused.
//  4. Nothing is allocated after open().
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "baton/plugin/plugin.h"
#include "baton/plugin/sdk.h"
#include "plugins/tcp/frame.h"
#include "plugins/tcp/post_entry.h"

namespace baton_tcp {

class Sender {
 public:
  // False: out of memory.
  [[nodiscard]] bool open(const PathContext& context);

  // Posts and flushes taken and not yet reported stay below kMaxPosts.
  [[nodiscard]] bool has_room() const { return unfinished_ < kMaxPosts && !queue_.full(); }
  // REQUIRES: has_room() and a post that passed check().
  void take(const baton_post& post);
  void take_flush(uint64_t op);
  // Null, or what is wrong with a post.
  [[nodiscard]] const char* check(const baton_post& post) const;

  // A request of the peer. False: it has more unanswered than it may.
  [[nodiscard]] bool owe_read(uint64_t grant, const Run& run);
  [[nodiscard]] bool owe_flush_done();

  // Sends at most `budget_bytes` of payload. Returns the number of system calls that moved bytes.
  uint32_t send(int fd, uint64_t budget_bytes);

  // Bytes wait to be sent.
  [[nodiscard]] bool pending() const {
    return batch_begin_ != batch_end_ || next_ != queue_.tail() || answer_next_ != answers_.tail();
  }
  // The kernel's buffer was full; cleared by whoever learns that there is room again.
  [[nodiscard]] bool blocked() const { return blocked_; }
  void unblock() { blocked_ = false; }
  // 0, or the errno with which sending ended for ever.
  [[nodiscard]] int error() const { return error_; }

  // Requests sent (or in the batch) whose answer is outstanding, oldest first.
  baton_sdk::FixedRing<PostEntry>& awaiting() { return awaiting_; }
  [[nodiscard]] bool has_reports() const { return !reports_.empty(); }
  // Ops of writes that left, to be reported DONE.
  baton_sdk::FixedRing<uint64_t>& reports() { return reports_; }
  // One op was reported to the host.
  void finished_one() { --unfinished_; }
  // Reports every unfinished op: DONE for what left, IN_DOUBT for the others. Nothing is sent any
  // more.
  void abandon();

 private:
  enum class Mark : uint8_t {
    kHeader,
    kData,        // of a write that goes on in the next piece
    kWriteEnd,    // the last bytes of a write
    kSignalEnd,   // the header that is all of a write without bytes
    kAnswerEnd,   // the header that ends an answer
    kAnswerData,  // bytes of a read's answer
  };
  struct Piece {
    Mark mark;
    uint64_t answer;   // kAnswerData: sequence in answers_
    uint64_t address;  // kAnswerData: target address of the first unsent byte
  };
  // What one sendmsg takes: pieces [batch_begin_, end), the last one short of `excess_bytes`.
  struct Cut {
    size_t end;
    size_t excess_bytes;
    size_t asked_bytes;
  };
  // 512 pieces are 256 runs of two source ranges; 16 KiB of headers are two full tables of runs.
  static constexpr size_t kMaxPieces = 512;
  static constexpr size_t kMaxHeaderBytes = 16384;
  static constexpr uint64_t kBatchBytes = 512u << 10;
  static constexpr uint64_t kPageBytes = 4096;

  void build_batch();
  uint64_t add_post_frame();
  uint64_t add_write_frame();
  void add_signal_frame();
  void add_read_frame();
  void add_flush_frame();
  uint64_t add_answer_frame();
  uint8_t* add_header(const FrameHeader& header, Mark mark);
  void add_piece(void* address, size_t length_bytes, Mark mark, uint64_t answer, uint64_t target);
  void move_to_awaiting(PostEntry& entry);
  [[nodiscard]] bool fits(size_t pieces, size_t header_bytes) const {
    return batch_end_ + pieces <= kMaxPieces && header_used_ + header_bytes <= kMaxHeaderBytes;
  }
  [[nodiscard]] static bool carries_payload(const Piece& piece) {
    return piece.mark != Mark::kHeader && piece.mark != Mark::kSignalEnd &&
           piece.mark != Mark::kAnswerEnd;
  }
  void refresh_answers();
  [[nodiscard]] Cut cut_batch(uint64_t budget_bytes) const;
  // Returns how many of the bytes were payload.
  uint64_t consume(size_t bytes);
  void finish_piece(const Piece& piece);
  void drop_moved();

  PathContext context_;
  baton_sdk::FixedRing<PostEntry> queue_;      // taken, last byte not yet sent
  baton_sdk::FixedRing<PostEntry> awaiting_;   // sent requests without an answer
  baton_sdk::FixedRing<AnswerEntry> answers_;  // owed to the peer
  baton_sdk::FixedRing<uint64_t> reports_;
  uint64_t next_ = 0;         // first of queue_ that is not in the batch
  uint64_t answer_next_ = 0;  // first of answers_ whose end is not in the batch
  uint32_t unfinished_ = 0;
  bool answers_turn_ = false;
  bool blocked_ = false;
  int error_ = 0;

  baton_sdk::HostArray<iovec> vectors_;
  baton_sdk::HostArray<Piece> pieces_;
  baton_sdk::HostArray<uint8_t> headers_;
  size_t batch_begin_ = 0;  // [begin, end) of vectors_ and pieces_ is not yet sent
  size_t batch_end_ = 0;
  size_t header_used_ = 0;
};

}  // namespace baton_tcp
