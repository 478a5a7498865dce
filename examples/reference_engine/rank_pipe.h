// RankPipe: messages between the process that leads a tensor-parallel side and one of its ranks,
// over a pair of Unix sockets.
//
// Invariants:
//  1. Messages arrive whole and in order.
//  2. Every wait ends: with its deadline, an interrupt, or the other end's close.
//
// Ownership: owns its end. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "baton/status.h"
#include "examples/reference_engine/owned_fd.h"

namespace baton_engine {

class RankPipe {
 public:
  struct Message {
    uint32_t kind = 0;
    uint64_t key = 0;  // which request it is about
    std::vector<uint8_t> bytes;
  };
  // Two ends that are each other's.
  static baton::Result<std::pair<OwnedFd, OwnedFd>> create_ends();

  RankPipe() = default;
  // `other` is what errors call the other end ("decode rank 2").
  RankPipe(OwnedFd end, std::string other) : end_(std::move(end)), other_(std::move(other)) {}

  // For poll(): readable when a message or the end may have come.
  int fd() const { return end_.get(); }

  // kPeerLost: the other end is closed; kDeadlineExceeded: it does not read; kCancelled:
  // interrupted.
  baton::Status send(uint32_t kind, uint64_t key, std::span<const uint8_t> bytes,
                     uint32_t timeout_ms);
  // A message, if one is there already. kPeerLost when no more will come.
  baton::Result<std::optional<Message>> poll();
  // Waits for one.
  baton::Result<Message> receive(uint32_t timeout_ms);

 private:
  // Reads what is there. kPeerLost at the end of the stream.
  baton::Status read_some();
  std::optional<Message> take();

  OwnedFd end_;
  std::string other_;
  std::vector<uint8_t> unread_;
};

}  // namespace baton_engine
