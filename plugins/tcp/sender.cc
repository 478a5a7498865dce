#include "plugins/tcp/sender.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace baton_tcp {

static_assert(kMaxPosts <= kMaxUnanswered);

bool Sender::open(const PathContext& context) {
  context_ = context;
  const baton_host* host = context.host;
  return queue_.open(host, kMaxPosts) && awaiting_.open(host, kMaxPosts) &&
         answers_.open(host, kMaxUnanswered) && reports_.open(host, kMaxPosts) &&
         vectors_.open(host, kMaxPieces) && pieces_.open(host, kMaxPieces) &&
         headers_.open(host, kMaxHeaderBytes);
}

const char* Sender::check(const baton_post& post) const {
  if (post.kind != BATON_POST_WRITE && post.kind != BATON_POST_READ) return "unknown kind";
  if (post.kind == BATON_POST_READ && post.has_immediate != 0) return "a read has no immediate";
  if (post.length_bytes == 0) {
    if (post.has_immediate == 0) return "length 0 without an immediate";
    return post.num_sources == 0 ? nullptr : "length 0 with sources";
  }
  if (post.length_bytes > context_.max_message_bytes) return "longer than max_message_bytes";
  if (post.num_sources == 0 || post.num_sources > kMaxSources) return "num_sources outside [1, 16]";
  if (post.target_address + post.length_bytes < post.target_address) return "target passes 2^64";
  uint64_t total = 0;
  for (uint32_t i = 0; i < post.num_sources; ++i) {
    if (post.sources[i].address == nullptr) return "a source is null";
    if (post.sources[i].length_bytes == 0) return "a source of length 0";
    total += post.sources[i].length_bytes;
  }
  return total == post.length_bytes ? nullptr : "the sources do not add up to length_bytes";
}

void Sender::take(const baton_post& post) {
  PostEntry& entry = queue_.push();
  entry.kind = post.kind == BATON_POST_WRITE ? EntryKind::kWrite : EntryKind::kRead;
  entry.has_immediate = post.has_immediate != 0;
  entry.immediate = post.immediate;
  entry.num_sources = post.num_sources;
  entry.length_bytes = post.length_bytes;
  entry.arrived_bytes = 0;
  entry.op = post.op;
  entry.grant = post.grant;
  entry.target_key = post.target_key;
  entry.target_address = post.target_address;
  for (uint32_t i = 0; i < post.num_sources; ++i) {
    entry.sources[i] = {static_cast<uint8_t*>(post.sources[i].address),
                        post.sources[i].length_bytes};
  }
  ++unfinished_;
}

void Sender::take_flush(uint64_t op) {
  PostEntry& entry = queue_.push();
  entry.kind = EntryKind::kFlush;
  entry.num_sources = 0;
  entry.op = op;
  ++unfinished_;
}

bool Sender::owe_read(uint64_t grant, const Run& run) {
  if (answers_.full()) return false;
  answers_.push() = {false, false, run.length_bytes, 0, grant, run.key, run.address, nullptr};
  return true;
}

bool Sender::owe_flush_done() {
  if (answers_.full()) return false;
  answers_.push() = {true, false, 0, 0, 0, 0, 0, nullptr};
  return true;
}

uint8_t* Sender::add_header(const FrameHeader& header, Mark mark) {
  uint8_t* out = headers_.data() + header_used_;
  encode_header(header, out);
  header_used_ += kHeaderBytes;
  add_piece(out, kHeaderBytes, mark, 0, 0);
  return out;
}

void Sender::add_piece(void* address, size_t length_bytes, Mark mark, uint64_t answer,
                       uint64_t target) {
  vectors_[batch_end_] = {address, length_bytes};
  pieces_[batch_end_] = {mark, answer, target};
  ++batch_end_;
}

void Sender::move_to_awaiting(PostEntry& entry) {
  awaiting_.push() = entry;
  entry.kind = EntryKind::kMoved;
  ++next_;
}

void Sender::add_signal_frame() {
  const PostEntry& entry = queue_.at(next_++);
  FrameHeader header;
  header.type = FrameType::kWrite;
  header.flags = kFlagImmediate;
  header.immediate = entry.immediate;
  header.grant = entry.grant;
  add_header(header, Mark::kSignalEnd);
}

uint64_t Sender::add_write_frame() {
  const PostEntry& first = queue_.at(next_);
  FrameHeader header;
  header.type = FrameType::kWrite;
  header.grant = first.grant;
  // The header's piece is filled last: how many runs follow is known only then.
  const size_t header_piece = batch_end_++;
  uint8_t* const out = headers_.data() + header_used_;
  header_used_ += kHeaderBytes;
  while (next_ != queue_.tail() && header.run_count < kMaxRuns &&
         header.payload_bytes < kFrameCloseBytes) {
    const PostEntry& entry = queue_.at(next_);
    if (entry.kind != EntryKind::kWrite || entry.grant != header.grant || entry.length_bytes == 0 ||
        !fits(entry.num_sources, kRunBytes)) {
      break;
    }
    encode_run({entry.target_key, entry.target_address, entry.length_bytes},
               headers_.data() + header_used_);
    header_used_ += kRunBytes;
    for (uint32_t i = 0; i < entry.num_sources; ++i) {
      const bool last = i + 1 == entry.num_sources;
      add_piece(entry.sources[i].address, entry.sources[i].length_bytes,
                last ? Mark::kWriteEnd : Mark::kData, 0, 0);
    }
    ++header.run_count;
    header.payload_bytes += entry.length_bytes;
    ++next_;
    if (entry.has_immediate) {
      header.flags = kFlagImmediate;
      header.immediate = entry.immediate;
      break;
    }
  }
  encode_header(header, out);
  vectors_[header_piece] = {out, kHeaderBytes + header.run_count * kRunBytes};
  pieces_[header_piece] = {Mark::kHeader, 0, 0};
  return header.payload_bytes;
}

void Sender::add_read_frame() {
  FrameHeader header;
  header.type = FrameType::kReadRequest;
  header.grant = queue_.at(next_).grant;
  uint8_t* const out = headers_.data() + header_used_;
  header_used_ += kHeaderBytes;
  while (next_ != queue_.tail() && header.run_count < kMaxRuns && fits(1, kRunBytes)) {
    PostEntry& entry = queue_.at(next_);
    if (entry.kind != EntryKind::kRead || entry.grant != header.grant) break;
    encode_run({entry.target_key, entry.target_address, entry.length_bytes},
               headers_.data() + header_used_);
    header_used_ += kRunBytes;
    ++header.run_count;
    move_to_awaiting(entry);
  }
  encode_header(header, out);
  add_piece(out, kHeaderBytes + header.run_count * kRunBytes, Mark::kHeader, 0, 0);
}

void Sender::add_flush_frame() {
  FrameHeader header;
  header.type = FrameType::kFlush;
  move_to_awaiting(queue_.at(next_));
  add_header(header, Mark::kHeader);
}

uint64_t Sender::add_post_frame() {
  switch (queue_.at(next_).kind) {
    case EntryKind::kWrite:
      if (queue_.at(next_).length_bytes > 0) return add_write_frame();
      add_signal_frame();
      return 0;
    case EntryKind::kRead:
      add_read_frame();
      return 0;
    case EntryKind::kFlush:
      add_flush_frame();
      return 0;
    case EntryKind::kMoved:
      break;
  }
  BATON_SDK_ASSERT(false);
}

uint64_t Sender::add_answer_frame() {
  AnswerEntry& answer = answers_.at(answer_next_);
  FrameHeader header;
  if (answer.is_flush) {
    header.type = FrameType::kFlushDone;
    add_header(header, Mark::kAnswerEnd);
    ++answer_next_;
    return 0;
  }
  uint32_t chunk_bytes = 0;
  if (!answer.refused && answer.batched_bytes < answer.length_bytes) {
    chunk_bytes = std::min(answer.length_bytes - answer.batched_bytes, kMaxReadDataBytes);
    const uint64_t address = answer.address + answer.batched_bytes;
    const baton_resolved resolved =
        context_.host->resolve(context_.host->context, context_.cookie, answer.grant, answer.key,
                               address, chunk_bytes, BATON_ACCESS_READ);
    if (resolved.address == nullptr) {
      answer.refused = true;
      chunk_bytes = 0;
    } else {
      header.type = FrameType::kReadData;
      header.payload_bytes = chunk_bytes;
      add_header(header, Mark::kHeader);
      add_piece(resolved.address, chunk_bytes, Mark::kAnswerData, answer_next_, address);
      answer.batched_bytes += chunk_bytes;
    }
  }
  if (answer.refused || answer.batched_bytes == answer.length_bytes) {
    FrameHeader end;
    end.type = FrameType::kReadEnd;
    end.flags = answer.refused ? kFlagRefused : uint8_t{0};
    answer.end_flags = add_header(end, Mark::kAnswerEnd) + 3;
    ++answer_next_;
  }
  return chunk_bytes;
}

void Sender::build_batch() {
  batch_begin_ = batch_end_ = header_used_ = 0;
  uint64_t payload_bytes = 0;
  // Room for one more frame of either kind: its header piece and a post's sources, or two headers
  // and one piece.
  while (payload_bytes < kBatchBytes && fits(kMaxSources + 1, 2 * kHeaderBytes + kRunBytes)) {
    const bool has_post = next_ != queue_.tail();
    const bool has_answer = answer_next_ != answers_.tail();
    if (!has_post && !has_answer) break;
    if (has_answer && (answers_turn_ || !has_post)) {
      payload_bytes += add_answer_frame();
      answers_turn_ = false;
    } else {
      payload_bytes += add_post_frame();
      answers_turn_ = true;
    }
  }
}

void Sender::refresh_answers() {
  for (size_t i = batch_begin_; i < batch_end_; ++i) {
    const Piece& piece = pieces_[i];
    if (piece.mark != Mark::kAnswerData) continue;
    AnswerEntry& answer = answers_.at(piece.answer);
    baton_resolved resolved{};
    if (!answer.refused) {
      resolved = context_.host->resolve(
          context_.host->context, context_.cookie, answer.grant, answer.key, piece.address,
          static_cast<uint32_t>(vectors_[i].iov_len), BATON_ACCESS_READ);
    }
    if (resolved.address == nullptr) {
      answer.refused = true;
      if (answer.end_flags != nullptr) *answer.end_flags |= kFlagRefused;
      resolved.address = context_.zeros;
    }
    vectors_[i].iov_base = resolved.address;
  }
}

// How much of the batch one call takes. Headers do not count. A call ends between two pieces, or at
// a page within a long one: a cut that the headers shift leaves the kernel a remainder of some
// bytes to send alone, and the source unaligned for the rest of the batch; that cost a quarter of
// the throughput.
Sender::Cut Sender::cut_batch(uint64_t budget_bytes) const {
  Cut cut{batch_begin_, 0, 0};
  uint64_t payload_bytes = 0;
  for (; cut.end < batch_end_; ++cut.end) {
    const size_t length_bytes = vectors_[cut.end].iov_len;
    if (carries_payload(pieces_[cut.end])) {
      const uint64_t left_bytes = budget_bytes - payload_bytes;
      if (length_bytes > left_bytes) {
        if (payload_bytes > 0 && payload_bytes >= budget_bytes / 2) break;
        uint64_t part_bytes = left_bytes;
        if (part_bytes > kPageBytes) part_bytes -= part_bytes % kPageBytes;
        cut.excess_bytes = length_bytes - part_bytes;
        cut.asked_bytes += part_bytes;
        ++cut.end;
        break;
      }
      payload_bytes += length_bytes;
    }
    cut.asked_bytes += length_bytes;
  }
  return cut;
}

uint32_t Sender::send(int fd, uint64_t budget_bytes) {
  uint32_t calls = 0;
  if (batch_begin_ != batch_end_ && !blocked_ && error_ == 0) refresh_answers();
  while (budget_bytes > 0 && !blocked_ && error_ == 0) {
    if (batch_begin_ == batch_end_) build_batch();
    if (batch_begin_ == batch_end_) break;
    const Cut cut = cut_batch(budget_bytes);
    const bool whole = cut.end == batch_end_ && cut.excess_bytes == 0;
    // What follows in a moment shares a segment with the end of this; without it each call would
    // end in a short segment of its own.
    const bool more = !whole || next_ != queue_.tail() || answer_next_ != answers_.tail();
    iovec& last = vectors_[cut.end - 1];
    last.iov_len -= cut.excess_bytes;  // for the duration of the call
    msghdr message{};
    message.msg_iov = &vectors_[batch_begin_];
    message.msg_iovlen = cut.end - batch_begin_;
    const ssize_t sent =
        ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
    const int error = errno;
    last.iov_len += cut.excess_bytes;
    if (sent < 0) {
      if (error == EINTR) continue;
      if (error == EAGAIN || error == EWOULDBLOCK) {
        blocked_ = true;
      } else {
        error_ = error;
      }
      break;
    }
    ++calls;
    budget_bytes -= consume(static_cast<size_t>(sent));
    // A short count means that the kernel noted our wish for room: the event comes.
    if (static_cast<size_t>(sent) < cut.asked_bytes) blocked_ = true;
    if (!whole) break;
  }
  return calls;
}

uint64_t Sender::consume(size_t bytes) {
  uint64_t payload_bytes = 0;
  while (bytes > 0) {
    iovec& vector = vectors_[batch_begin_];
    Piece& piece = pieces_[batch_begin_];
    const size_t taken = std::min(bytes, vector.iov_len);
    vector.iov_base = static_cast<uint8_t*>(vector.iov_base) + taken;
    vector.iov_len -= taken;
    piece.address += taken;
    bytes -= taken;
    if (carries_payload(piece)) payload_bytes += taken;
    if (vector.iov_len == 0) {
      finish_piece(piece);
      ++batch_begin_;
    }
  }
  if (batch_begin_ == batch_end_) drop_moved();
  return payload_bytes;
}

void Sender::finish_piece(const Piece& piece) {
  if (piece.mark == Mark::kWriteEnd || piece.mark == Mark::kSignalEnd) {
    drop_moved();
    BATON_SDK_ASSERT(queue_.front().kind == EntryKind::kWrite && queue_.head() != next_);
    reports_.push() = queue_.front().op;
    queue_.pop();
  } else if (piece.mark == Mark::kAnswerEnd) {
    answers_.pop();
  }
}

void Sender::drop_moved() {
  while (queue_.head() != next_ && queue_.front().kind == EntryKind::kMoved) queue_.pop();
}

void Sender::abandon() {
  const baton_host* host = context_.host;
  for (; !reports_.empty(); reports_.pop()) {
    host->op_done(host->context, context_.cookie, reports_.front(), BATON_OP_DONE);
  }
  for (; !awaiting_.empty(); awaiting_.pop()) {
    host->op_done(host->context, context_.cookie, awaiting_.front().op, BATON_OP_IN_DOUBT);
  }
  for (; !queue_.empty(); queue_.pop()) {
    if (queue_.front().kind == EntryKind::kMoved) continue;
    host->op_done(host->context, context_.cookie, queue_.front().op, BATON_OP_IN_DOUBT);
  }
  next_ = queue_.tail();
  answer_next_ = answers_.tail();
  batch_begin_ = batch_end_ = 0;
  unfinished_ = 0;
}

}  // namespace baton_tcp
