// Any 24 bytes are refused or mean exactly what they encode again; any table is refused or keeps
// its limits.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "plugins/tcp/frame.h"

namespace {

constexpr uint32_t kLongest = 1u << 20;

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using baton_tcp::kHeaderBytes;
  using baton_tcp::kRunBytes;
  if (size < kHeaderBytes) return 0;
  baton_tcp::FrameHeader header;
  if (baton_tcp::decode_header(data, kLongest, &header) != nullptr) return 0;
  std::array<uint8_t, kHeaderBytes> again{};
  baton_tcp::encode_header(header, again.data());
  require(std::memcmp(again.data(), data, kHeaderBytes) == 0);
  require(header.run_count <= baton_tcp::kMaxRuns);
  if (size - kHeaderBytes < header.run_count * kRunBytes) return 0;
  static std::array<baton_tcp::Run, baton_tcp::kMaxRuns> runs;
  const uint8_t* table = data + kHeaderBytes;
  if (baton_tcp::decode_runs(table, header, kLongest, runs.data()) != nullptr) return 0;
  uint64_t total = 0;
  for (uint32_t i = 0; i < header.run_count; ++i) {
    std::array<uint8_t, kRunBytes> bytes{};
    baton_tcp::encode_run(runs[i], bytes.data());
    require(std::memcmp(bytes.data(), table + i * kRunBytes, kRunBytes) == 0);
    require(runs[i].length_bytes > 0 && runs[i].length_bytes <= kLongest);
    require(runs[i].address + runs[i].length_bytes >= runs[i].address);
    total += runs[i].length_bytes;
  }
  require(header.type != baton_tcp::FrameType::kWrite || total == header.payload_bytes);
  return 0;
}
