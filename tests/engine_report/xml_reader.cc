#include "tests/engine_report/xml_reader.h"

#include <cctype>
#include <utility>

#include "examples/reference_engine/utf8.h"

namespace baton_test {

namespace {

class Reader {
 public:
  explicit Reader(std::string_view rest) : all_(rest), rest_(rest) {}

  std::unique_ptr<XmlElement> read() {
    if (baton_engine::find_invalid_utf8(all_)) return fail("ill-formed UTF-8");
    for (const char character : all_) {
      const auto byte = static_cast<unsigned char>(character);
      if (byte < 0x20 && byte != '\n' && byte != '\t' && byte != '\r') {
        return fail("a control character");
      }
    }
    skip_space();
    auto root = read_element();
    if (root == nullptr) return nullptr;
    skip_space();
    if (!rest_.empty()) return fail("text after the root element");
    return root;
  }

  const std::string& error() const { return error_; }

 private:
  std::nullptr_t fail(const std::string& what) {
    if (error_.empty()) {
      error_ = what + " at byte " + std::to_string(all_.size() - rest_.size());
    }
    return nullptr;
  }
  bool take(std::string_view what) {
    if (!rest_.starts_with(what)) return false;
    rest_.remove_prefix(what.size());
    return true;
  }
  void skip_space() {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front())) != 0) {
      rest_.remove_prefix(1);
    }
  }
  std::string read_name() {
    size_t length = 0;
    while (length < rest_.size() && (std::isalnum(static_cast<unsigned char>(rest_[length])) != 0 ||
                                     rest_[length] == '-' || rest_[length] == ':')) {
      ++length;
    }
    std::string name(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return name;
  }
  // Up to `end`, which is not consumed.
  bool read_text(char end, std::string& text) {
    while (!rest_.empty() && rest_.front() != end) {
      if (rest_.front() == '<') return false;
      if (rest_.front() != '&') {
        text += rest_.front();
        rest_.remove_prefix(1);
        continue;
      }
      if (take("&amp;")) {
        text += '&';
      } else if (take("&lt;")) {
        text += '<';
      } else if (take("&gt;")) {
        text += '>';
      } else if (take("&quot;")) {
        text += '"';
      } else {
        return false;
      }
    }
    return !rest_.empty();
  }

  bool read_attributes(XmlElement& element) {
    while (true) {
      const size_t before = rest_.size();
      skip_space();
      if (rest_.starts_with("/") || rest_.starts_with(">")) return true;
      if (rest_.size() == before) return false;
      const std::string name = read_name();
      std::string value;
      if (name.empty() || !take("=\"") || !read_text('"', value) || !take("\"")) return false;
      if (!element.attributes.emplace(name, std::move(value)).second) return false;
    }
  }

  std::unique_ptr<XmlElement> read_element() {
    auto element = std::make_unique<XmlElement>();
    if (!take("<")) return fail("no element");
    element->name = read_name();
    if (element->name.empty()) return fail("an element without a name");
    if (!read_attributes(*element)) return fail("a wrong attribute of " + element->name);
    if (take("/>")) return element;
    if (!take(">")) return fail("an unclosed tag");
    while (true) {
      if (!read_text('<', element->text)) return fail("wrong text in " + element->name);
      if (take("</")) {
        if (read_name() != element->name || !take(">")) return fail("no end of " + element->name);
        return element;
      }
      auto child = read_element();
      if (child == nullptr) return nullptr;
      element->children.push_back(std::move(child));
    }
  }

  std::string_view all_;
  std::string_view rest_;
  std::string error_;
};

void collect(const XmlElement& element, std::string_view name,
             std::vector<const XmlElement*>& found) {
  if (element.name == name) found.push_back(&element);
  for (const auto& child : element.children) collect(*child, name, found);
}

}  // namespace

std::unique_ptr<XmlElement> read_xml(std::string_view document, std::string* error) {
  Reader reader(document);
  auto root = reader.read();
  *error = reader.error();
  return root;
}

std::vector<const XmlElement*> find_elements(const XmlElement& root, std::string_view name) {
  std::vector<const XmlElement*> found;
  collect(root, name, found);
  return found;
}

}  // namespace baton_test
