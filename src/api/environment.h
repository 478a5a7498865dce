// Environment: what a Context takes from outside that is not the same in each run: time,
// randomness, the control connections, and sleep. By default the machine's; a simulation brings its
// own, and then a run follows from its seed alone.
//
// Thread rule: a value. What it holds is called from any thread, unless said otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "baton/status.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/control/control_interface.h"
#include "src/control/control_options.h"

namespace baton::api {

// `handler`, `logger` and `clock` are borrowed until the result's stop() returned.
using ControlFactory = std::function<Result<std::unique_ptr<control::ControlInterface>>(
    control::ControlOptions options, control::ControlHandler* handler, base::Logger& logger,
    base::Clock& clock)>;

struct Environment {
  // Null: CLOCK_MONOTONIC. Another one needs ProgressMode::kCaller, and `sleep`: descriptors and
  // condition variables know no other time. Gate::wait() always waits in CLOCK_MONOTONIC.
  std::shared_ptr<base::Clock> clock;
  // Null: the kernel's generator. Seeds, names and ids of Grants; what an attacker must not guess
  // in the control connections is not drawn here.
  std::function<uint64_t()> random;
  // Null: control::ControlPlane.
  ControlFactory make_control;
  // Null: sleeps on descriptors. In kCaller mode a blocking call, when its Context has nothing to
  // do: returns once something may have happened, at `until_ns` at the latest. Not called with a
  // lock held but the one that keeps progress() out while the Context is being closed.
  std::function<void(int64_t until_ns)> sleep;

  // The same with every default filled in but `sleep`.
  Environment with_defaults() const;
};

}  // namespace baton::api
