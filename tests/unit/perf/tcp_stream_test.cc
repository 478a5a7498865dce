#include "perf/baselines/tcp_stream.h"

#include <gtest/gtest.h>

#include <set>

#include "perf/lib/measure.h"
#include "perf/lib/verify.h"
#include "tests/support/test_seed.h"

namespace baton_perf {
namespace {

struct Case {
  Operation operation;
  uint64_t run_bytes;
  uint32_t runs;
  uint32_t in_flight;
  bool is_tuned = false;
};

class TcpStreamTest : public testing::TestWithParam<Case> {};

TEST_P(TcpStreamTest, PlacesEveryByteAndNoOther) {
  const Case& c = GetParam();
  const uint64_t footprint_bytes = 4 * c.run_bytes * c.runs * c.in_flight + 33;
  const auto places = Places::create({.run_bytes = c.run_bytes,
                                      .runs_per_batch = c.runs,
                                      .footprint_bytes = footprint_bytes,
                                      .seed = baton_test::test_seed()},
                                     c.in_flight);
  ASSERT_TRUE(places.is_ok());
  Buffer local = Buffer::create(footprint_bytes).value();
  Buffer remote = Buffer::create(footprint_bytes).value();
  const bool write = c.operation == Operation::kWrite;
  Buffer& source = write ? local : remote;
  Buffer& target = write ? remote : local;
  prepare_source(source, 3);
  prepare_target(target);

  const StreamToken token = random_token();
  auto server = TcpStreamServer::create("127.0.0.1", token, remote.bytes());
  ASSERT_TRUE(server.is_ok()) << server.status().to_string();
  auto client = TcpStreamClient::connect({.server = {"127.0.0.1", (*server)->port()},
                                          .token = token,
                                          .operation = c.operation,
                                          .in_flight = c.in_flight,
                                          .is_tuned = c.is_tuned},
                                         local.bytes(), *places);
  ASSERT_TRUE(client.is_ok()) << client.status().to_string();
  const uint64_t batches = batches_to_verify(*places);
  const baton::Status moved = move_batches(**client, c.in_flight, batches);
  ASSERT_TRUE(moved.is_ok()) << moved.to_string();
  EXPECT_EQ((*server)->batches_served(), batches);
  const auto compared = verify_target(target, *places, 3);
  ASSERT_TRUE(compared.is_ok()) << compared.status().to_string();
  EXPECT_EQ(*compared, batches * places->batch_bytes());
  EXPECT_TRUE(source.check_guards().is_ok());
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, TcpStreamTest,
    testing::Values(Case{Operation::kWrite, 4096, 64, 1}, Case{Operation::kWrite, 4097, 3, 4},
                    Case{Operation::kWrite, 1u << 20, 4, 2}, Case{Operation::kWrite, 1, 1500, 1},
                    Case{Operation::kWrite, 4096, 64, 2, true},
                    Case{Operation::kRead, 4096, 64, 2, true}, Case{Operation::kRead, 4096, 64, 1},
                    Case{Operation::kRead, 4097, 3, 4}, Case{Operation::kRead, 1u << 20, 4, 2},
                    Case{Operation::kRead, 1, 1500, 1}));

TEST(TcpStreamServerTest, WhoDoesNotKnowTheTokenIsNotServed) {
  Buffer memory = Buffer::create(4096).value();
  const auto places =
      Places::create({.run_bytes = 1024, .runs_per_batch = 1, .footprint_bytes = 4096}, 1);
  auto server = TcpStreamServer::create("127.0.0.1", random_token(), memory.bytes());
  ASSERT_TRUE(server.is_ok());
  auto client = TcpStreamClient::connect(
      {.server = {"127.0.0.1", (*server)->port()}, .token = random_token()}, memory.bytes(),
      *places);
  ASSERT_TRUE(client.is_ok());
  baton::Status status = (*client)->submit(0);
  if (status.is_ok()) status = (*client)->wait_one().status();
  EXPECT_EQ(status.code(), baton::StatusCode::kPeerLost) << status.to_string();
  EXPECT_EQ((*server)->batches_served(), 0u);
}

TEST(TcpStreamServerTest, ARunPastTheEndEndsTheConnection) {
  Buffer local = Buffer::create(8192).value();
  Buffer remote = Buffer::create(4096).value();
  const StreamToken token = random_token();
  const auto places =
      Places::create({.run_bytes = 8192, .runs_per_batch = 1, .footprint_bytes = 8192}, 1);
  auto server = TcpStreamServer::create("127.0.0.1", token, remote.bytes());
  ASSERT_TRUE(server.is_ok());
  auto client = TcpStreamClient::connect(
      {.server = {"127.0.0.1", (*server)->port()}, .token = token}, local.bytes(), *places);
  ASSERT_TRUE(client.is_ok());
  baton::Status status = (*client)->submit(0);
  if (status.is_ok()) status = (*client)->wait_one().status();
  EXPECT_EQ(status.code(), baton::StatusCode::kPeerLost) << status.to_string();
  EXPECT_TRUE(remote.check_guards().is_ok());
}

TEST(TcpStreamServerTest, EndsWhileNobodyConnectsAndWhileAClientIsIdle) {
  Buffer memory = Buffer::create(4096).value();
  const StreamToken token = random_token();
  { ASSERT_TRUE(TcpStreamServer::create("127.0.0.1", token, memory.bytes()).is_ok()); }
  const auto places =
      Places::create({.run_bytes = 1024, .runs_per_batch = 1, .footprint_bytes = 4096}, 1);
  auto server = TcpStreamServer::create("127.0.0.1", token, memory.bytes());
  ASSERT_TRUE(server.is_ok());
  auto client = TcpStreamClient::connect(
      {.server = {"127.0.0.1", (*server)->port()}, .token = token}, memory.bytes(), *places);
  ASSERT_TRUE(client.is_ok());
  server->reset();
  EXPECT_FALSE((*client)->wait_one().is_ok());
}

TEST(TcpStreamClientTest, NobodyThereIsPeerLost) {
  Buffer memory = Buffer::create(4096).value();
  const auto places =
      Places::create({.run_bytes = 1024, .runs_per_batch = 1, .footprint_bytes = 4096}, 1);
  uint16_t port = 0;
  {
    auto server = TcpStreamServer::create("127.0.0.1", random_token(), memory.bytes());
    ASSERT_TRUE(server.is_ok());
    port = (*server)->port();
  }
  const auto client =
      TcpStreamClient::connect({.server = {"127.0.0.1", port}}, memory.bytes(), *places);
  EXPECT_EQ(client.code(), baton::StatusCode::kPeerLost);
}

}  // namespace
}  // namespace baton_perf
