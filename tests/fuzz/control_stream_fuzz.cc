// What the two ends of a data socket say first. Any opening is none, or means what it would encode
// again; none that was not written with the key is proven, nor is any answer to it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "src/control/stream_proof.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace control = baton::control;
  if (size < control::kOpeningBytes) return 0;
  constexpr control::StreamKey kKey = {1, 2, 3};
  control::OpeningBytes bytes{};
  std::copy_n(data, bytes.size(), bytes.begin());
  const auto opening = control::read_opening(bytes);
  if (opening) {
    const control::OpeningBytes written = control::write_opening(*opening, kKey);
    require(std::equal(bytes.begin(), bytes.end() - sizeof(control::Mac), written.begin()));
    require(control::is_proven(written, kKey));
    require(control::is_proven(bytes, kKey) == (bytes == written));
    require(control::read_opening(written) == opening);
  }
  if (size < control::kOpeningBytes + control::kAnswerBytes) return 0;
  control::AnswerBytes answer{};
  std::copy_n(data + bytes.size(), answer.size(), answer.begin());
  require(control::is_answer_to(answer, bytes, kKey) ==
          (answer == control::write_answer(bytes, kKey)));
  return 0;
}
