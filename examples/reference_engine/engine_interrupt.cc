#include "examples/reference_engine/engine_interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace baton_engine {

namespace {

// A signal handler has no other way to tell.
std::atomic<bool> interrupt_seen{false};
static_assert(std::atomic<bool>::is_always_lock_free, "written in a signal handler");

extern "C" void note_interrupt(int /*signal*/) {
  if (interrupt_seen.exchange(true)) ::_exit(130);
}

}  // namespace

void install_interrupt_handlers() {
  struct sigaction action {};
  action.sa_handler = note_interrupt;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

bool interrupted() { return interrupt_seen.load(std::memory_order_relaxed); }

}  // namespace baton_engine
