// What plug-ins share, header-only, C++20, beside the C border: error texts, memory from the host,
// a fixed ring, settings.
//
// Nothing here allocates except through the host's table, and nothing here is part of the binary
// interface: each plug-in compiles its own copy. Thread rule: none of these types is shared between
// threads by itself.
#pragma once

#include <cerrno>
#include <charconv>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "baton/plugin/plugin.h"

// Asserts an invariant of the plug-in's own, in release too: says where and aborts.
#define BATON_SDK_ASSERT(condition)                                                       \
  do {                                                                                    \
    if (!(condition)) ::baton_sdk::detail::assert_failed(#condition, __FILE__, __LINE__); \
  } while (false)

namespace baton_sdk {

namespace detail {

[[noreturn]] inline void assert_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "baton plug-in: assertion failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace detail

// Writes a printf-style text into a buffer of BATON_ERROR_BYTES, cut to fit, always terminated.
// `out` may be null.
__attribute__((format(printf, 2, 3))) inline void format_text(char* out, const char* format, ...) {
  if (out == nullptr) return;
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(out, BATON_ERROR_BYTES, format, arguments);
  va_end(arguments);
}

// The text of an errno value, in a buffer of its own: safe on any thread, allocates nothing.
class ErrnoText {
 public:
  explicit ErrnoText(int error) {
    // glibc's strerror_r (the GNU form) may answer with a static string instead of filling the
    // buffer.
    const char* text = ::strerror_r(error, buffer_, sizeof buffer_);
    std::snprintf(text_, sizeof text_, "%s (errno %d)", text, error);
  }
  [[nodiscard]] const char* c_str() const { return text_; }

 private:
  char buffer_[96] = {};
  char text_[128] = {};
};

// Creates a T in the host's memory; null when the host has none. Pair with destroy().
template <typename T, typename... Arguments>
[[nodiscard]] T* create(const baton_host* host, Arguments&&... arguments) {
  void* memory = host->allocate(host->context, sizeof(T), alignof(T));
  return memory == nullptr ? nullptr : new (memory) T(std::forward<Arguments>(arguments)...);
}

template <typename T>
void destroy(const baton_host* host, T* object) {
  if (object == nullptr) return;
  object->~T();
  host->release(host->context, object, sizeof(T));
}

// An array in the host's memory, zeroed, freed with the object. Move is not offered: owners stay
// where they are.
template <typename T>
class HostArray {
  static_assert(std::is_trivially_destructible_v<T> && std::is_trivially_copyable_v<T>);

 public:
  HostArray() = default;
  HostArray(const HostArray&) = delete;
  HostArray& operator=(const HostArray&) = delete;
  ~HostArray() { reset(); }

  // Set-up only. False: out of memory.
  [[nodiscard]] bool open(const baton_host* host, size_t count) {
    reset();
    const size_t alignment = alignof(T) < 64 ? size_t{64} : alignof(T);
    void* memory = host->allocate(host->context, count * sizeof(T), alignment);
    if (memory == nullptr) return false;
    host_ = host;
    count_ = count;
    data_ = static_cast<T*>(memory);
    for (size_t i = 0; i < count; ++i) new (data_ + i) T{};
    return true;
  }
  void reset() {
    if (data_ != nullptr) host_->release(host_->context, data_, count_ * sizeof(T));
    data_ = nullptr;
    count_ = 0;
  }

  [[nodiscard]] size_t size() const { return count_; }
  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  T& operator[](size_t index) { return data_[index]; }
  const T& operator[](size_t index) const { return data_[index]; }

 private:
  const baton_host* host_ = nullptr;
  T* data_ = nullptr;
  size_t count_ = 0;
};

// A first-in first-out ring of fixed capacity (a power of two) whose entries are named by a
// sequence number that only grows, so that a name stays good while entries before it leave. One
// thread.
template <typename T>
class FixedRing {
 public:
  // Set-up only. REQUIRES: capacity is a power of two. False: out of memory.
  [[nodiscard]] bool open(const baton_host* host, size_t capacity) {
    BATON_SDK_ASSERT(capacity != 0 && (capacity & (capacity - 1)) == 0);
    head_ = tail_ = 0;
    return slots_.open(host, capacity);
  }

  [[nodiscard]] bool empty() const { return head_ == tail_; }
  [[nodiscard]] bool full() const { return size() == slots_.size(); }
  [[nodiscard]] size_t size() const { return static_cast<size_t>(tail_ - head_); }
  [[nodiscard]] size_t capacity() const { return slots_.size(); }
  [[nodiscard]] uint64_t head() const { return head_; }
  [[nodiscard]] uint64_t tail() const { return tail_; }

  // The entry named `sequence`. REQUIRES: head() <= sequence < tail().
  T& at(uint64_t sequence) {
    BATON_SDK_ASSERT(sequence - head_ < tail_ - head_);
    return slots_[static_cast<size_t>(sequence) & (slots_.size() - 1)];
  }
  T& front() { return at(head_); }

  // Appends an entry with whatever its slot last held; the caller fills it. REQUIRES: not full.
  T& push() {
    BATON_SDK_ASSERT(!full());
    return slots_[static_cast<size_t>(tail_++) & (slots_.size() - 1)];
  }
  // REQUIRES: not empty.
  void pop() {
    BATON_SDK_ASSERT(!empty());
    ++head_;
  }

 private:
  HostArray<T> slots_;
  uint64_t head_ = 0;
  uint64_t tail_ = 0;
};

// Walks "key=value,key=value". Example:
//   Settings settings(options->settings);
//   for (std::string_view key, value; settings.next(&key, &value);) ...
class Settings {
 public:
  explicit Settings(const char* text) : rest_(text == nullptr ? "" : text) {}

  // False at the end. A pair without '=' has an empty value. Views borrow the text.
  bool next(std::string_view* key, std::string_view* value) {
    while (!rest_.empty() && rest_.front() == ',') rest_.remove_prefix(1);
    if (rest_.empty()) return false;
    const size_t end = rest_.find(',');
    const std::string_view pair = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end);
    const size_t equals = pair.find('=');
    *key = pair.substr(0, equals);
    *value = equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    return true;
  }

  // Decimal in [min, max]; false otherwise.
  static bool parse_number(std::string_view text, uint64_t min, uint64_t max, uint64_t* out) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < min || value > max)
      return false;
    *out = value;
    return true;
  }

 private:
  std::string_view rest_;
};

}  // namespace baton_sdk
