#include "plugins/tcp/receiver.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>

namespace baton_tcp {

bool Receiver::open(const PathContext& context, Sender* sender) {
  context_ = context;
  sender_ = sender;
  return buffer_.open(context.host, kReadAheadBytes) && runs_.open(context.host, kMaxRuns) &&
         vectors_.open(context.host, kMaxVectors);
}

void Receiver::fail(const char* what) {
  broken_ = true;
  baton_sdk::format_text(reason_, "tcp: protocol violation in incoming frame %" PRIu64 ": %s",
                         frames_, what);
}

uint32_t Receiver::receive(int fd, uint64_t budget_bytes) {
  budget_ = budget_bytes;
  stopped_ = false;
  uint32_t calls = 0;
  while (!broken_) {
    parse();
    if (broken_) break;
    if (budget_ == 0 || calls == kMaxCalls) {
      stopped_ = true;
      break;
    }
    if (!ready_ || !fill(fd)) break;
    ++calls;
  }
  if (!ready_ && !broken_) set_low_water(fd);
  return calls;
}

// To be woken for every segment costs both ends more than the copying does: inside a long payload
// the kernel wakes us when a good part of what must still come is there. An end of the stream or an
// error wakes at once, and the kernel caps the mark by its buffer.
void Receiver::set_low_water(int fd) {
  const bool long_payload = state_ == State::kPayload && payload_left_ >= kMinLowWaterBytes;
  const uint32_t wanted_bytes = long_payload ? std::min(payload_left_, kMaxLowWaterBytes) : 1;
  if (wanted_bytes == low_water_bytes_) return;
  const int value = static_cast<int>(wanted_bytes);
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value) == 0) {
    low_water_bytes_ = wanted_bytes;
  }
}

void Receiver::parse() {
  while (!broken_) {
    const size_t available = buffer_end_ - buffer_begin_;
    switch (state_) {
      case State::kHeader:
        if (available < kHeaderBytes) return;
        begin_frame();
        break;
      case State::kRuns:
        if (available < frame_.run_count * kRunBytes) return;
        begin_runs();
        break;
      case State::kPayload:
        if (available == 0 || budget_ == 0) return;
        place_read_ahead();
        break;
    }
  }
}

void Receiver::begin_frame() {
  const char* wrong =
      decode_header(buffer_.data() + buffer_begin_, context_.max_message_bytes, &frame_);
  if (wrong != nullptr) return fail(wrong);
  buffer_begin_ += kHeaderBytes;
  ++frames_;
  switch (frame_.type) {
    case FrameType::kWrite:
      if (frame_.run_count == 0) return end_payload();
      state_ = State::kRuns;
      return;
    case FrameType::kReadRequest:
      state_ = State::kRuns;
      return;
    case FrameType::kReadData: {
      auto& awaiting = sender_->awaiting();
      if (awaiting.empty() || awaiting.front().kind != EntryKind::kRead) {
        return fail("read data that was not asked for");
      }
      const PostEntry& read = awaiting.front();
      if (frame_.payload_bytes > read.length_bytes - read.arrived_bytes) {
        return fail("more read data than was asked for");
      }
      payload_left_ = frame_.payload_bytes;
      state_ = State::kPayload;
      return;
    }
    case FrameType::kReadEnd:
      return end_read((frame_.flags & kFlagRefused) != 0);
    case FrameType::kFlush:
      // Stream order: everything that was sent before it is placed by now.
      if (!sender_->owe_flush_done()) fail("more unanswered requests than agreed");
      return;
    case FrameType::kFlushDone:
      return end_flush();
  }
}

void Receiver::begin_runs() {
  const char* wrong =
      decode_runs(buffer_.data() + buffer_begin_, frame_, context_.max_message_bytes, runs_.data());
  if (wrong != nullptr) return fail(wrong);
  buffer_begin_ += frame_.run_count * kRunBytes;
  if (frame_.type == FrameType::kWrite) {
    write_cursor_ = {};
    payload_left_ = frame_.payload_bytes;
    state_ = State::kPayload;
    return;
  }
  state_ = State::kHeader;
  for (uint32_t i = 0; i < frame_.run_count; ++i) {
    if (!sender_->owe_read(frame_.grant, runs_[i])) {
      return fail("more unanswered requests than agreed");
    }
  }
}

void Receiver::end_read(bool refused) {
  auto& awaiting = sender_->awaiting();
  if (awaiting.empty() || awaiting.front().kind != EntryKind::kRead) {
    return fail("the end of a read that was not asked for");
  }
  const PostEntry& read = awaiting.front();
  if (!refused && read.arrived_bytes != read.length_bytes) {
    return fail("the end of a read before all its bytes");
  }
  const uint64_t op = read.op;
  awaiting.pop();
  read_cursor_ = {};
  sender_->finished_one();
  context_.host->op_done(context_.host->context, context_.cookie, op,
                         refused ? BATON_OP_REFUSED : BATON_OP_DONE);
}

void Receiver::end_flush() {
  auto& awaiting = sender_->awaiting();
  if (awaiting.empty() || awaiting.front().kind != EntryKind::kFlush) {
    return fail("the end of a flush that was not asked for");
  }
  const uint64_t op = awaiting.front().op;
  awaiting.pop();
  sender_->finished_one();
  context_.host->op_done(context_.host->context, context_.cookie, op, BATON_OP_DONE);
}

// Where the bytes at `cursor` go, at most `max_bytes` of them; moves the cursor past them.
Receiver::Chunk Receiver::next_chunk(Cursor* cursor, uint64_t max_bytes) {
  const bool write = frame_.type == FrameType::kWrite;
  const uint32_t range_bytes =
      write ? runs_[cursor->index].length_bytes
            : sender_->awaiting().front().sources[cursor->index].length_bytes;
  const uint32_t limit = std::min(range_bytes - cursor->offset, kScratchBytes);
  const auto length_bytes = static_cast<uint32_t>(std::min<uint64_t>(limit, max_bytes));
  uint8_t* address = nullptr;
  if (write) {
    const Run& run = runs_[cursor->index];
    const baton_resolved resolved =
        context_.host->resolve(context_.host->context, context_.cookie, frame_.grant, run.key,
                               run.address + cursor->offset, length_bytes, BATON_ACCESS_WRITE);
    address = static_cast<uint8_t*>(resolved.address);
    if (address == nullptr && resolved.ended == 0) {
      broken_ = true;
      baton_sdk::format_text(
          reason_,
          "tcp: protocol violation in incoming frame %" PRIu64
          ": run %u (region "
          "key %" PRIu64 ", address %" PRIu64 ", %u bytes) lies outside grant %" PRIu64,
          frames_, cursor->index, run.key, run.address, run.length_bytes, frame_.grant);
      return {nullptr, 0};
    }
    if (address == nullptr) address = context_.discard;
  } else {
    address = sender_->awaiting().front().sources[cursor->index].address + cursor->offset;
  }
  cursor->offset += length_bytes;
  if (cursor->offset == range_bytes) *cursor = {cursor->index + 1, 0};
  return {address, length_bytes};
}

// `bytes` of payload are in place: moves the true cursor and ends the frame with its last byte.
void Receiver::advance(uint32_t bytes) {
  const bool write = frame_.type == FrameType::kWrite;
  Cursor& cursor = write ? write_cursor_ : read_cursor_;
  budget_ -= bytes;
  payload_left_ -= bytes;
  if (!write) sender_->awaiting().front().arrived_bytes += bytes;
  while (bytes > 0) {
    const uint32_t range_bytes =
        write ? runs_[cursor.index].length_bytes
              : sender_->awaiting().front().sources[cursor.index].length_bytes;
    const uint32_t step = std::min(bytes, range_bytes - cursor.offset);
    cursor.offset += step;
    bytes -= step;
    if (cursor.offset == range_bytes) cursor = {cursor.index + 1, 0};
  }
  if (payload_left_ == 0) end_payload();
}

void Receiver::end_payload() {
  state_ = State::kHeader;
  if ((frame_.flags & kFlagImmediate) != 0) {
    context_.host->units_arrived(context_.host->context, context_.cookie, frame_.immediate);
  }
}

// Copies payload that came with the read-ahead.
void Receiver::place_read_ahead() {
  const uint64_t limit =
      std::min<uint64_t>({buffer_end_ - buffer_begin_, budget_, uint64_t{payload_left_}});
  Cursor cursor = frame_.type == FrameType::kWrite ? write_cursor_ : read_cursor_;
  const Chunk chunk = next_chunk(&cursor, limit);
  if (chunk.address == nullptr) return;
  std::memcpy(chunk.address, buffer_.data() + buffer_begin_, chunk.length_bytes);
  buffer_begin_ += chunk.length_bytes;
  advance(chunk.length_bytes);
}

// One recvmsg. REQUIRES: parse() consumed what it could and budget_ > 0. True: bytes came.
bool Receiver::fill(int fd) {
  size_t count = 0;
  size_t payload_asked = 0;
  if (state_ == State::kPayload) {
    Cursor cursor = frame_.type == FrameType::kWrite ? write_cursor_ : read_cursor_;
    const uint64_t wanted = std::min<uint64_t>(payload_left_, budget_);
    while (payload_asked < wanted) {
      const Chunk chunk = next_chunk(&cursor, wanted - payload_asked);
      if (chunk.address == nullptr) return false;
      iovec* last = count == 0 ? nullptr : &vectors_[count - 1];
      if (last != nullptr &&
          static_cast<uint8_t*>(last->iov_base) + last->iov_len == chunk.address) {
        last->iov_len += chunk.length_bytes;
      } else {
        vectors_[count++] = {chunk.address, chunk.length_bytes};
      }
      payload_asked += chunk.length_bytes;
      if (count == kMaxVectors - 1) break;
    }
    buffer_begin_ = buffer_end_ = 0;
  } else if (buffer_begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + buffer_begin_, buffer_end_ - buffer_begin_);
    buffer_end_ -= buffer_begin_;
    buffer_begin_ = 0;
  }
  size_t asked_bytes = payload_asked;
  if (state_ != State::kPayload || payload_asked == payload_left_) {
    vectors_[count++] = {buffer_.data() + buffer_end_, buffer_.size() - buffer_end_};
    asked_bytes += buffer_.size() - buffer_end_;
  }
  msghdr message{};
  message.msg_iov = vectors_.data();
  message.msg_iovlen = count;
  ssize_t received = 0;
  do {
    received = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (received < 0 && errno == EINTR);
  if (!handle_result(received, asked_bytes)) return false;
  const size_t payload_bytes = std::min(static_cast<size_t>(received), payload_asked);
  buffer_end_ += static_cast<size_t>(received) - payload_bytes;
  if (payload_bytes > 0) advance(static_cast<uint32_t>(payload_bytes));
  return true;
}

bool Receiver::handle_result(ssize_t received, size_t asked_bytes) {
  const int error = errno;
  if (received > 0) {
    // A short read emptied the socket: whatever comes later raises a new event. The end of the
    // stream that came with it does not, hence hang_up_.
    if (static_cast<size_t>(received) < asked_bytes && !hang_up_) ready_ = false;
    return true;
  }
  if (received < 0 && (error == EAGAIN || error == EWOULDBLOCK)) {
    ready_ = false;
    return false;
  }
  broken_ = true;
  if (received == 0) {
    const bool inside = state_ != State::kHeader || buffer_begin_ != buffer_end_;
    baton_sdk::format_text(reason_, "tcp: the peer closed the stream %s frame %" PRIu64,
                           inside ? "inside" : "after", frames_);
  } else {
    baton_sdk::format_text(reason_, "tcp: recvmsg: %s", baton_sdk::ErrnoText(error).c_str());
  }
  return false;
}

}  // namespace baton_tcp
