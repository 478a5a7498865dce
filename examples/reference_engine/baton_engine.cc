// baton-engine: a small language-model engine that shows Baton at work. See --help.
#include <cstdio>

#include "examples/reference_engine/engine_interrupt.h"
#include "examples/reference_engine/engine_options.h"
#include "examples/reference_engine/engine_run.h"

int main(int count, char** arguments) {
  baton_engine::install_interrupt_handlers();
  const auto parsed = baton_engine::parse_command_line(count, arguments);
  if (!parsed.is_ok()) {
    std::fprintf(stderr, "baton-engine: %s\n", parsed.status().message().c_str());
    return baton_engine::kExitBadInput;
  }
  if (parsed->wants_exit) return 0;
  return baton_engine::run_engine(parsed->options);
}
