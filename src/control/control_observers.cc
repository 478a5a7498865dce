// Observers: connections that ask once what this Context is doing. They are no peers: no Describe
// (and so no region key), no Path, no name, no heartbeats; few, and for a short time.
#include <algorithm>

#include "src/base/assert.h"
#include "src/base/random.h"
#include "src/control/control_plane_impl.h"

namespace baton::control {

void ControlPlaneImpl::accept_observer(Link& link, uint16_t version, uint64_t features) {
  const auto observers = std::count_if(links_.begin(), links_.end(), [](const auto& entry) {
    return entry.second->is_open && entry.second->stage == Stage::kObserver;
  });
  if (observers >= static_cast<ptrdiff_t>(options_.limits.max_observers)) {
    refuse_hello(link,
                 Status(StatusCode::kExhausted, "\"" + options_.name + "\" has " +
                                                    std::to_string(observers) +
                                                    " observers already; try again"),
                 0);
    return;
  }
  wire::Welcome welcome;
  welcome.version = version;
  welcome.features = features;
  welcome.name = options_.name;
  welcome.boot_id = options_.boot_id;
  welcome.incarnation = ++incarnation_;
  welcome.nonce = link.hello.nonce;
  // Names nothing: the connection has no data sockets, so no stream key either.
  welcome.session = base::secure_random_u64() | 1;
  const Status queued = queue(link, welcome);
  BATON_ASSERT(queued.is_ok(), "a Welcome is within the limits");
  link.stage = Stage::kObserver;
  set_deadline(link, options_.limits.observer_timeout_ms);
  logger_.info("\"{}\" is observed by \"{}\" at {}", options_.name, link.hello.name,
               link.remote.text());
}

Status ControlPlaneImpl::on_observer_message(Link& link, const wire::Message& message) {
  const auto* request = std::get_if<wire::StateRequest>(&message);
  if (request == nullptr || std::exchange(link.was_answered, true)) {
    return Status(StatusCode::kProtocolError,
                  std::string(wire::message_name(message)) + " of an observer, which asks once");
  }
  // The observer closes when it has the answer, or the deadline does.
  return queue(link, wire::StateReply{handler_->describe_state(request->format)});
}

}  // namespace baton::control
