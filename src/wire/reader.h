// Reader: copies verified FlatBuffers fields into plain structs, within a budget.
//
// The verifier allows many offsets to one string or vector, so that a small message could unfold to
// a huge one. The reader charges each string and vector that it copies; a message that was built
// without sharing never needs more than its own length. Nor does the verifier look at more than the
// alignment of a vector's length: elements wider than that are read only where they are aligned.
//
// Thread rule: externally synchronised.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "baton/status.h"

namespace baton::wire {

class Reader {
 public:
  explicit Reader(size_t budget_bytes) : budget_bytes_(budget_bytes) {}

  bool failed() const { return !status_.is_ok(); }
  const Status& status() const { return status_; }
  // The first failure counts.
  void fail(const char* field, const std::string& why) {
    if (!failed()) status_ = Status(StatusCode::kProtocolError, std::string(field) + ": " + why);
  }

  bool flag(const char* field, uint8_t value) {
    if (value > 1) fail(field, "is " + std::to_string(value) + ", neither 0 nor 1");
    return value == 1;
  }

  void text(const char* field, const flatbuffers::String* in, std::string& out) {
    if (in != nullptr && charge(field, in->size(), 1)) out.assign(in->data(), in->size());
  }

  template <typename T>
  void scalars(const char* field, const flatbuffers::Vector<T>* in, std::vector<T>& out) {
    if (in == nullptr || !charge(field, in->size(), sizeof(T)) ||
        !check_aligned(field, *in, alignof(T)))
      return;
    out.reserve(in->size());
    for (const T value : *in) out.push_back(value);
  }

  template <typename T, typename Out, typename Convert>
  void structs(const char* field, const flatbuffers::Vector<const T*>* in, std::vector<Out>& out,
               Convert convert) {
    if (in == nullptr || !charge(field, in->size(), sizeof(T)) ||
        !check_aligned(field, *in, alignof(T)))
      return;
    out.reserve(in->size());
    for (const T* value : *in) out.push_back(convert(*value));
  }

  template <typename T, typename Out>
  void tables(const char* field, const flatbuffers::Vector<flatbuffers::Offset<T>>* in,
              size_t limit, std::vector<Out>& out, void (*read)(Reader&, const T&, Out&)) {
    if (in == nullptr || !charge(field, in->size(), sizeof(flatbuffers::uoffset_t))) return;
    if (in->size() > limit) {
      fail(field, std::to_string(in->size()) + " of them, at most " + std::to_string(limit) +
                      " are allowed");
      return;
    }
    out.reserve(in->size());
    for (const T* value : *in) {
      read(*this, *value, out.emplace_back());
      if (failed()) return;
    }
  }

 private:
  bool charge(const char* field, size_t count, size_t size) {
    if (failed()) return false;
    if (count > budget_bytes_ / size) {
      fail(field, "unfolds to more bytes than the message has");
      return false;
    }
    budget_bytes_ -= count * size;
    return true;
  }

  // An empty vector may lie anywhere; the builder aligns none.
  template <typename T>
  bool check_aligned(const char* field, const flatbuffers::Vector<T>& in, size_t alignment) {
    if (in.size() == 0 || reinterpret_cast<uintptr_t>(in.Data()) % alignment == 0) return true;
    fail(field, "its elements are not aligned to " + std::to_string(alignment) + " bytes");
    return false;
  }

  size_t budget_bytes_;
  Status status_;
};

}  // namespace baton::wire
