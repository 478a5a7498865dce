// Opens a Context with the installed headers and library, and says its address.
#include <baton/context.h>
#include <baton/version.h>

#include <cstdio>

int main() {
  if (baton::version() != BATON_VERSION_STRING) {
    std::fprintf(stderr, "the headers are of %s, the library is not\n", BATON_VERSION_STRING);
    return 1;
  }
  auto context = baton::Context::create(baton::ContextOptions{});
  if (!context.is_ok()) {
    std::fprintf(stderr, "%s\n", context.status().to_string().c_str());
    return 1;
  }
  std::printf("baton %s at %s\n", BATON_VERSION_STRING, context->address().c_str());
  const baton::Status closed = context->close(0);
  return closed.is_ok() ? 0 : 1;
}
