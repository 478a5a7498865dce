// The proof of a data socket: what its two ends write before anything else. Pure.
//
//     dialer -> acceptor   "SBATON\r\n" session epoch ticket[32] nonce[16] hmac[32]   (104 bytes)
//     acceptor -> dialer   "SBATOK\r\n" hmac[32]                                      (40 bytes)
//
// Integers are little endian. Each HMAC-SHA256 is keyed with the stream key of the control
// connection (the TLS exporter's, or the one in Welcome), begins with the name of the side that
// speaks (so that neither can be reflected), and covers the whole opening. The ticket is good once,
// so that a recorded opening is worthless; the nonce makes the answer fresh.
//
// Thread rule: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "baton/ids.h"
#include "src/wire/messages.h"

namespace baton::control {

using StreamKey = std::array<uint8_t, 32>;
using Mac = std::array<uint8_t, 32>;

// What a connection begins with, so that one port serves all.
inline constexpr std::array<uint8_t, 8> kControlPreface = {'C', 'B', 'A',  'T',
                                                           'O', 'N', '\r', '\n'};
inline constexpr std::array<uint8_t, 8> kStreamPreface = {'S', 'B', 'A', 'T', 'O', 'N', '\r', '\n'};
inline constexpr std::array<uint8_t, 8> kStreamAnswerPreface = {'S', 'B', 'A',  'T',
                                                                'O', 'K', '\r', '\n'};
inline constexpr uint8_t kTlsFirstByte = 0x16;  // RFC 8446, record of type handshake

inline constexpr size_t kOpeningBytes = 8 + 8 + 8 + 32 + 16 + 32;
inline constexpr size_t kAnswerBytes = 8 + 32;
using OpeningBytes = std::array<uint8_t, kOpeningBytes>;
using AnswerBytes = std::array<uint8_t, kAnswerBytes>;

struct StreamOpening {
  uint64_t session = 0;
  PathEpoch epoch;
  wire::StreamTicket ticket{};
  wire::HelloNonce nonce{};

  friend bool operator==(const StreamOpening&, const StreamOpening&) = default;
};

OpeningBytes write_opening(const StreamOpening& opening, const StreamKey& key);
// Nothing when the preface is another one. The proof is not checked: that takes the session's key.
std::optional<StreamOpening> read_opening(const OpeningBytes& bytes);
bool is_proven(const OpeningBytes& bytes, const StreamKey& key);

AnswerBytes write_answer(const OpeningBytes& opening, const StreamKey& key);
bool is_answer_to(const AnswerBytes& answer, const OpeningBytes& opening, const StreamKey& key);

// In constant time. REQUIRES: equal sizes (asserted).
bool equal_secrets(std::span<const uint8_t> a, std::span<const uint8_t> b);
Mac hmac_sha256(std::span<const uint8_t> key, std::span<const uint8_t> text);

}  // namespace baton::control
