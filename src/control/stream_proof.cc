#include "src/control/stream_proof.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "src/base/assert.h"

namespace baton::control {

namespace {

constexpr size_t kMacOffset = kOpeningBytes - sizeof(Mac);

void put_u64(uint8_t* at, uint64_t value) {
  for (unsigned i = 0; i < 8; ++i) at[i] = static_cast<uint8_t>(value >> (8 * i));
}

uint64_t get_u64(const uint8_t* at) {
  uint64_t value = 0;
  for (unsigned i = 0; i < 8; ++i) value |= uint64_t{at[i]} << (8 * i);
  return value;
}

Mac labelled_mac(std::string_view label, std::span<const uint8_t> text, const StreamKey& key) {
  std::vector<uint8_t> input(label.begin(), label.end());
  input.push_back(0);
  input.insert(input.end(), text.begin(), text.end());
  return hmac_sha256(key, input);
}

Mac opening_mac(const OpeningBytes& bytes, const StreamKey& key) {
  return labelled_mac("baton stream dialer", std::span(bytes).first(kMacOffset), key);
}

Mac answer_mac(const OpeningBytes& opening, const StreamKey& key) {
  return labelled_mac("baton stream acceptor", opening, key);
}

}  // namespace

OpeningBytes write_opening(const StreamOpening& opening, const StreamKey& key) {
  OpeningBytes out{};
  std::copy(kStreamPreface.begin(), kStreamPreface.end(), out.begin());
  put_u64(out.data() + 8, opening.session);
  put_u64(out.data() + 16, opening.epoch.value);
  std::copy(opening.ticket.begin(), opening.ticket.end(), out.begin() + 24);
  std::copy(opening.nonce.begin(), opening.nonce.end(), out.begin() + 56);
  const Mac mac = opening_mac(out, key);
  std::copy(mac.begin(), mac.end(), out.begin() + kMacOffset);
  return out;
}

std::optional<StreamOpening> read_opening(const OpeningBytes& bytes) {
  if (!std::equal(kStreamPreface.begin(), kStreamPreface.end(), bytes.begin())) return std::nullopt;
  StreamOpening opening;
  opening.session = get_u64(bytes.data() + 8);
  opening.epoch = PathEpoch(get_u64(bytes.data() + 16));
  std::copy_n(bytes.begin() + 24, opening.ticket.size(), opening.ticket.begin());
  std::copy_n(bytes.begin() + 56, opening.nonce.size(), opening.nonce.begin());
  return opening;
}

bool is_proven(const OpeningBytes& bytes, const StreamKey& key) {
  return equal_secrets(opening_mac(bytes, key), std::span(bytes).subspan(kMacOffset));
}

AnswerBytes write_answer(const OpeningBytes& opening, const StreamKey& key) {
  AnswerBytes out{};
  std::copy(kStreamAnswerPreface.begin(), kStreamAnswerPreface.end(), out.begin());
  const Mac mac = answer_mac(opening, key);
  std::copy(mac.begin(), mac.end(), out.begin() + 8);
  return out;
}

bool is_answer_to(const AnswerBytes& answer, const OpeningBytes& opening, const StreamKey& key) {
  return std::equal(kStreamAnswerPreface.begin(), kStreamAnswerPreface.end(), answer.begin()) &&
         equal_secrets(answer_mac(opening, key), std::span(answer).subspan(8));
}

bool equal_secrets(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  BATON_ASSERT(a.size() == b.size(), "secrets that are compared are of one length");
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Mac hmac_sha256(std::span<const uint8_t> key, std::span<const uint8_t> text) {
  Mac mac{};
  unsigned length = 0;
  const uint8_t* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), text.data(),
                             text.size(), mac.data(), &length);
  BATON_ASSERT(done != nullptr && length == mac.size(), "HMAC-SHA256 is there");
  return mac;
}

}  // namespace baton::control
