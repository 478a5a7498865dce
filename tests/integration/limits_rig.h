// What the tests of exhausted limits share: a process that runs out of descriptors, memory or
// mappings, on command, while it has a Context.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace baton_test {

// Takes all descriptors that this process may open but `left`.
class DescriptorHog {
 public:
  ~DescriptorHog() { release(); }
  void leave(uint32_t left);
  void release();

 private:
  std::vector<int> taken_;
};

// The role that argv names, run to its end: the exit status of main(). Nothing: no role is named.
//
//   --role=limited NAME   A Context with a pool of its own. Says "ADDRESS address". Commands:
//                         "leave N" descriptors, "release", "connect ADDRESS" (says "DIALED OK" or
//                         the error), "push" (everything, to the next offer), "cpu" (milliseconds
//                         of CPU so far)
//   --role=memory         Contexts within ever more address space: says "CODE ..." for each that
//                         was not made, then "MADE" and "SAME" after a hand-off
//   --role=mappings       a hand-off while no mapping is left: says "SAME"
//   --role=descriptors    says which descriptors are open: "0 1 2 3"
std::optional<int> run_limited_role(int argc, char** argv);

}  // namespace baton_test
