// counted(): a handle's result, counted when a bound refused it.
#pragma once

#include "src/api/context_impl.h"

namespace baton::api {

template <typename Returned>
Returned counted(ContextImpl& context, BusyCall call, Returned result) {
  if (result.code() == StatusCode::kBusy) context.count_busy(call);
  return result;
}

}  // namespace baton::api
