// baton-soak: hand-offs of the tiny model between two long-lived processes, back to back, with
// random cancels and kills; see soak_run.h for what must hold.
//
//   build/dev/bin/baton_soak --hand-offs 10000 --seed 7 --json soak.json
//
// Progress on standard error; at the end the summary as JSON on standard output, and in --json.
// Exit status: 0 when everything held, 1 with the reason otherwise, 2 for a wrong command line.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>

#include "tests/soak/doomed_decode.h"
#include "tests/soak/soak_options.h"
#include "tests/soak/soak_prefill.h"
#include "tests/soak/soak_run.h"
#include "tests/support/test_seed.h"

int main(int argc, char** argv) {
  baton_soak::SoakOptions options;
  options.seed = baton_test::test_seed();
  std::string role = "decode";
  std::string address;
  CLI::App app("Hand-offs back to back, with cancels and kills");
  app.add_option("--hand-offs", options.hand_offs, "How many (200)");
  app.add_option("--seed", options.seed, "Decides prompts, cancels and kills (chosen anew)");
  app.add_option("--cancel-percent", options.cancel_percent, "Of the hand-offs (20)");
  app.add_option("--pull-percent", options.pull_percent,
                 "Of the hand-offs (40): pulled; the others are pushed");
  app.add_option("--kill-every", options.kill_every,
                 "Hand-offs between two kills of the prefill process, on average (40); 0: never");
  app.add_option("--json", options.json_path, "Write the summary to this file, too");
  app.add_flag("--quiet", options.quiet, "No progress on standard error");
  app.add_option("--decode-kill-every", options.decode_kill_every,
                 "Likewise (60): of a second decode process, which hands over beside the first");
  app.add_option("--role", role, "The program's own: decode, or what it starts: prefill, doomed");
  app.add_option("--address", address, "The program's own: of prefill, for the role doomed");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (role == "prefill") return baton_soak::run_prefill();
  if (role == "doomed") return baton_soak::run_doomed_decode(options, address);

  std::printf("BATON_TEST_SEED=%llu\n", static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  baton_soak::SoakRun soak(options);
  const std::string wrong = soak.run();
  auto summary = soak.summary();
  summary["result"] = wrong.empty() ? "held" : wrong;
  std::cout << summary.dump(2) << std::endl;
  if (!options.json_path.empty()) std::ofstream(options.json_path) << summary.dump(2) << '\n';
  if (wrong.empty()) return 0;
  std::cerr << "baton-soak: " << wrong << "\nrepeat with: --seed " << options.seed << std::endl;
  return 1;
}
