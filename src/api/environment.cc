#include "src/api/environment.h"

#include "src/base/random.h"
#include "src/control/control_plane.h"

namespace baton::api {

Environment Environment::with_defaults() const {
  Environment all = *this;
  if (all.clock == nullptr) all.clock = std::make_shared<base::MonotonicClock>();
  if (all.random == nullptr) all.random = base::secure_random_u64;
  if (all.make_control == nullptr) {
    all.make_control = [](control::ControlOptions options, control::ControlHandler* handler,
                          base::Logger& logger,
                          base::Clock& time) -> Result<std::unique_ptr<control::ControlInterface>> {
      auto plane = control::ControlPlane::create(std::move(options), handler, logger, time);
      if (!plane.is_ok()) return plane.status();
      return std::unique_ptr<control::ControlInterface>(std::move(plane).value());
    };
  }
  return all;
}

}  // namespace baton::api
