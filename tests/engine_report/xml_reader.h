// XmlReader: reads a small XML document strictly, for tests of what writes one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace baton_test {

struct XmlElement {
  std::string name;
  std::map<std::string, std::string> attributes;  // entities resolved
  std::string text;                               // of this element alone, entities resolved
  std::vector<std::unique_ptr<XmlElement>> children;
};

// The root element; null, with `error` saying what and where, when `document` is not well-formed:
// unbalanced or unnamed tags, a repeated or unquoted attribute, an unknown entity, a bare < or &,
// characters that XML does not have, text outside the root. Knows no comments, no CDATA, no DTD.
std::unique_ptr<XmlElement> read_xml(std::string_view document, std::string* error);

// `root` and all below it that are called `name`, in order.
std::vector<const XmlElement*> find_elements(const XmlElement& root, std::string_view name);

}  // namespace baton_test
