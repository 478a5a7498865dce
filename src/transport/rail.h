// Rail: one opened plug-in, with the host table that it sees. It turns the plug-in's C reports into
// calls on RailEvents.
//
// Invariants:
//  1. A Rail is closed after its paths and regions.
//  2. Host callbacks reach RailEvents on the thread that drives the rail, from within a plug-in
//  call.
//
// Thread rule: open() and register/unregister before the data loop starts or on the data thread;
// what is constant (index, name, capabilities) from any thread; all else on the data thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "baton/ids.h"
#include "baton/options.h"
#include "baton/plugin/plugin.h"
#include "baton/status.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "src/base/random.h"

namespace baton::transport {

// What the paths of a rail report. MUST NOT call back into the plug-in.
class RailEvents {
 public:
  virtual ~RailEvents() = default;
  virtual void on_op_done(uint64_t path_cookie, uint64_t op, baton_op_status status) = 0;
  virtual void on_units_arrived(uint64_t path_cookie, uint32_t immediate) = 0;
  virtual void on_path_broken(uint64_t path_cookie, const char* reason) = 0;
  virtual void on_fenced(uint64_t path_cookie) = 0;
  virtual baton_resolved on_resolve(uint64_t path_cookie, uint64_t grant, uint64_t region_key,
                                    uint64_t address, uint32_t length_bytes,
                                    baton_access access) = 0;
};

// The code that a plug-in's answer becomes; `what` names the call, `detail` is the plug-in's text.
Status status_of(baton_rc rc, const std::string& what, const char* detail);

class Rail {
 public:
  // `plugin`, `events`, `clock` and `logger` outlive the Rail. `unit_bytes`: the longest post that
  // it will be given. As the plug-in's rail_open fails (status_of); kUnavailable when it cannot do
  // what every hand-off needs: immediates of 32 bits, posts of `unit_bytes` and of
  // base::kMaxUnitSources ranges. `seed`: of the randomness that the plug-in is given.
  static Result<std::unique_ptr<Rail>> open(RailIndex index, const baton_plugin* plugin,
                                            const RailOptions& options, uint32_t unit_bytes,
                                            RailEvents* events, base::Clock& clock,
                                            base::Logger& logger, uint64_t seed = 1);
  ~Rail();
  Rail(const Rail&) = delete;
  Rail& operator=(const Rail&) = delete;

  RailIndex index() const { return index_; }
  const std::string& name() const { return name_; }
  const baton_plugin& plugin() const { return *plugin_; }
  baton_rail* handle() const { return rail_; }
  const baton_capabilities& capabilities() const { return capabilities_; }
  bool has(uint32_t capability) const { return (capabilities_.flags & capability) != 0; }

 private:
  Rail(RailIndex index, const baton_plugin* plugin, RailEvents* events, base::Clock& clock,
       base::Logger& logger, uint64_t seed);
  void fill_host_table();

  const RailIndex index_;
  const baton_plugin* const plugin_;
  RailEvents* const events_;
  base::Clock& clock_;
  base::Logger& logger_;
  base::Random random_;
  std::string name_;
  baton_host host_{};
  baton_capabilities capabilities_{};
  baton_rail* rail_ = nullptr;
};

}  // namespace baton::transport
