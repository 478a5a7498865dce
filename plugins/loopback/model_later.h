// ModelPath::later, for the files of ModelPath alone.
//
// Thread rule: the fabric's one thread.
#pragma once

#include <cstdint>

#include "plugins/loopback/model_fabric.h"
#include "plugins/loopback/model_path.h"

namespace baton_loopback {

template <typename Call>
void ModelPath::later(int64_t at_ns, Call call) {
  ModelFabric& owner = fabric();
  owner.call_at(at_ns, [&owner, index = index_, call = std::move(call)] {
    if (ModelPath* end = owner.find(index); end != nullptr) call(*end);
  });
}

}  // namespace baton_loopback
