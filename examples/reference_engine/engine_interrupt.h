// Ctrl-C and SIGTERM: a flag that long operations look at.
#pragma once

namespace baton_engine {

// Call once, from main, before threads. The second signal ends the process at once, with 130.
void install_interrupt_handlers();
// Thread rule: any thread.
bool interrupted();

}  // namespace baton_engine
