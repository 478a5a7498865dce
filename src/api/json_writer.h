// JsonWriter: builds one JSON text. Output is ASCII: bytes beyond it, of whatever encoding, are
// written as the code points of their values.
//
// Thread rule: externally synchronised.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace baton::api {

class JsonWriter {
 public:
  // Values of an object follow key(); those of a list, and the outermost, do not.
  JsonWriter& key(std::string_view name);
  void begin_object();
  void end_object();
  void begin_list();
  void end_list();
  void text(std::string_view value);
  void number(uint64_t value);
  void number(double value);  // REQUIRES: finite
  void boolean(bool value);

  const std::string& result() const { return out_; }

 private:
  void separate();
  void quote(std::string_view value);

  std::string out_;
  bool needs_comma_ = false;
};

}  // namespace baton::api
