#include "tests/soak/doomed_decode.h"

#include <csignal>
#include <cstdint>
#include <iostream>

#include "tests/soak/soak_decode.h"

namespace baton_soak {

int run_doomed_decode(const SoakOptions& options, const std::string& address) {
  SoakDecode decode(options, "soak-doomed");
  std::string wrong = decode.prepare();
  if (wrong.empty()) wrong = decode.connect(address);
  if (wrong.empty()) {
    std::cout << "BEGINS" << std::endl;
    decode.strike_after(options.hand_offs, [&decode] {
      std::cout << "DIES " << to_json(decode.tally_if_killed()) << std::endl;
      std::raise(SIGKILL);
    });
  }
  SoakDecode::Round plan;
  plan.most = UINT64_MAX;
  while (wrong.empty()) wrong = decode.round(plan);
  std::cerr << "soak-doomed: " << wrong << "\nits seed: " << options.seed << std::endl;
  return 1;
}

}  // namespace baton_soak
