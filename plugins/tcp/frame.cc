#include "plugins/tcp/frame.h"

namespace baton_tcp {
namespace {

template <typename T>
void store(uint8_t* out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out[i] = static_cast<uint8_t>(value >> (8 * i));
}

template <typename T>
T load(const uint8_t* bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return static_cast<T>(value);
}

bool has_runs(FrameType type) {
  return type == FrameType::kWrite || type == FrameType::kReadRequest;
}

bool has_payload(FrameType type) {
  return type == FrameType::kWrite || type == FrameType::kReadData;
}

uint8_t allowed_flags(FrameType type) {
  if (type == FrameType::kWrite) return kFlagImmediate;
  if (type == FrameType::kReadEnd) return kFlagRefused;
  return 0;
}

}  // namespace

void encode_header(const FrameHeader& header, uint8_t* out) {
  store<uint16_t>(out, kFrameMagic);
  out[2] = static_cast<uint8_t>(header.type);
  out[3] = header.flags;
  store<uint32_t>(out + 4, header.run_count);
  store<uint32_t>(out + 8, header.payload_bytes);
  store<uint32_t>(out + 12, header.immediate);
  store<uint64_t>(out + 16, header.grant);
}

void encode_run(const Run& run, uint8_t* out) {
  store<uint64_t>(out, run.key);
  store<uint64_t>(out + 8, run.address);
  store<uint32_t>(out + 16, run.length_bytes);
  store<uint32_t>(out + 20, 0);
}

const char* decode_header(const uint8_t* bytes, uint32_t max_message_bytes, FrameHeader* out) {
  if (load<uint16_t>(bytes) != kFrameMagic) return "the frame magic is wrong";
  if (bytes[2] < static_cast<uint8_t>(FrameType::kWrite) ||
      bytes[2] > static_cast<uint8_t>(FrameType::kFlushDone)) {
    return "the frame type is unknown";
  }
  FrameHeader header;
  header.type = static_cast<FrameType>(bytes[2]);
  header.flags = bytes[3];
  header.run_count = load<uint32_t>(bytes + 4);
  header.payload_bytes = load<uint32_t>(bytes + 8);
  header.immediate = load<uint32_t>(bytes + 12);
  header.grant = load<uint64_t>(bytes + 16);
  if ((header.flags & ~allowed_flags(header.type)) != 0) {
    return "a flag is set that this frame type does not have";
  }
  if ((header.flags & kFlagImmediate) == 0 && header.immediate != 0) {
    return "an immediate without its flag";
  }
  // Nothing but an immediate.
  const bool is_signal = header.type == FrameType::kWrite && header.run_count == 0 &&
                         (header.flags & kFlagImmediate) != 0;
  if (!has_runs(header.type)) {
    if (header.run_count != 0) return "runs in a frame type without runs";
    if (header.grant != 0) return "a grant in a frame type without runs";
  } else if ((header.run_count == 0 && !is_signal) || header.run_count > kMaxRuns) {
    return "the run count is outside [1, 256]";
  }
  if (is_signal) {
    if (header.payload_bytes != 0) return "payload in a write without runs";
  } else if (!has_payload(header.type)) {
    if (header.payload_bytes != 0) return "payload in a frame type without payload";
  } else {
    const uint64_t limit = header.type == FrameType::kReadData
                               ? kMaxReadDataBytes
                               : uint64_t{kFrameCloseBytes} - 1 + max_message_bytes;
    if (header.payload_bytes == 0 || header.payload_bytes > limit) {
      return "the payload length is outside its limits";
    }
  }
  *out = header;
  return nullptr;
}

const char* decode_runs(const uint8_t* bytes, const FrameHeader& header, uint32_t max_message_bytes,
                        Run* out) {
  uint64_t total = 0;
  for (uint32_t i = 0; i < header.run_count; ++i, bytes += kRunBytes) {
    Run& run = out[i];
    run.key = load<uint64_t>(bytes);
    run.address = load<uint64_t>(bytes + 8);
    run.length_bytes = load<uint32_t>(bytes + 16);
    if (load<uint32_t>(bytes + 20) != 0) return "a reserved field of a run is not zero";
    if (run.length_bytes == 0) return "a run of length 0";
    if (run.length_bytes > max_message_bytes) return "a run longer than the agreed maximum";
    if (run.address + run.length_bytes < run.address) return "a run's end passes 2^64";
    total += run.length_bytes;
  }
  if (header.type == FrameType::kWrite && total != header.payload_bytes) {
    return "the runs do not add up to the payload length";
  }
  return nullptr;
}

}  // namespace baton_tcp
