// Shadow: which bytes of a process's memory may be written now, as their owner was told. A request
// opens its target pieces when it takes them and closes them at its terminal state; a byte that
// lands anywhere else, or once its layer is said to have arrived, breaks a promise.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace baton_test {

// Whose piece it is.
class PieceOwner {
 public:
  // Empty, or why a byte of this layer may not be written for `grant` now.
  virtual std::string may_land(uint32_t layer, uint64_t grant) const = 0;

 protected:
  ~PieceOwner() = default;
};

class Shadow {
 public:
  void open(const uint8_t* at, uint64_t length_bytes, uint32_t layer, const PieceOwner* owner);
  void close(const uint8_t* at) { pieces_.erase(at); }
  // Empty, or what is wrong with a write of these bytes.
  std::string check(const uint8_t* at, uint64_t length_bytes, uint64_t grant) const;

 private:
  struct Piece {
    const uint8_t* end = nullptr;
    uint32_t layer = 0;
    const PieceOwner* owner = nullptr;
  };
  std::map<const uint8_t*, Piece> pieces_;  // by their first byte; disjoint
};

}  // namespace baton_test
