// The part of the codec that reads and writes a Layout.
//
// Thread rule: pure functions.
#pragma once

#include "baton/layout.h"
#include "baton_wire_generated/control_generated.h"
#include "src/wire/reader.h"

namespace baton::wire {

flatbuffers::Offset<fb::Layout> add_layout(flatbuffers::FlatBufferBuilder& builder,
                                           const Layout& layout);
void read_layout(Reader& reader, const fb::Layout& in, Layout& out);

}  // namespace baton::wire
