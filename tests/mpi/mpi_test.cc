// Jobs of 2 and 4 ranks under mpirun: hand-offs in a ring, three writers to one receiver, and ranks
// that go in the middle while the others are told. What the ranks check is in rank_main.cc.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/support/command.h"

namespace baton_test {
namespace {

class Mpi : public testing::Test {
 protected:
  void SetUp() override {
    if (std::string(BATON_MPI_PROGRAM).empty()) {
      GTEST_SKIP() << "built without MPI (a sanitizer, or openmpi-bin and libopenmpi-dev are "
                      "missing): NOTHING WAS TESTED";
    }
  }

  // `gone`: the rank that goes in the middle, or none.
  static void run(int ranks, const std::string& name, int gone = -1) {
    std::vector<std::string> arguments = {"--allow-run-as-root", "--oversubscribe",
                                          // Ranks of this machine only: no ssh is looked for.
                                          "--mca", "plm_rsh_agent", "sh", "-n",
                                          std::to_string(ranks)};
    if (gone >= 0) {
      // Or mpirun would end the others before they have been told.
      arguments.insert(arguments.end(),
                       {"--mca", "orte_allowed_exit_without_sync", "1", "--mca",
                        "orte_abort_on_non_zero_status", "0", "--enable-recovery"});
    }
    arguments.insert(arguments.end(), {BATON_MPI_PROGRAM, name});
    // A read of its output may wait for as long as a rank may.
    auto job = start_command(BATON_MPIRUN, arguments);
    std::string text;
    while (const auto line = job.read_line(std::chrono::seconds(150))) text += *line + "\n";
    ASSERT_TRUE(job.wait_exit().has_value()) << "ranks were left:\n" << text;
    for (int rank = 0; rank < ranks; ++rank) {
      const bool is_ok = text.find("RANK " + std::to_string(rank) + " OK\n") != std::string::npos;
      EXPECT_EQ(is_ok, rank != gone) << "rank " << rank << " of:\n" << text;
    }
    if (gone < 0) {
      EXPECT_EQ(job.wait_exit()->code, 0) << text;
    }
  }
};

TEST_F(Mpi, TwoRanksHandOverToEachOther) { run(2, "ring"); }
TEST_F(Mpi, FourRanksHandOverInARing) { run(4, "ring"); }
TEST_F(Mpi, ThreeWritersSendTheirHeadsToOne) { run(4, "fan_in"); }
TEST_F(Mpi, ThreeWritersOfOneGroup) { run(4, "group"); }
TEST_F(Mpi, AWriterThatIsKilledFailsItsGroup) { run(4, "group_writer_killed", 1); }
TEST_F(Mpi, AWriterThatExitsIsLostAndTheOthersFinish) { run(4, "writer_exits", 1); }
TEST_F(Mpi, AWriterThatIsKilledIsLostAndTheOthersFinish) { run(4, "writer_killed", 1); }
TEST_F(Mpi, AReceiverThatExitsLeavesAllWritersInDoubt) { run(4, "receiver_exits", 0); }
TEST_F(Mpi, AReceiverThatIsKilledLeavesAllWritersInDoubt) { run(4, "receiver_killed", 0); }

}  // namespace
}  // namespace baton_test
