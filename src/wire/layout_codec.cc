#include "src/wire/layout_codec.h"

namespace baton::wire {

namespace {

flatbuffers::Offset<fb::Group> add_group(flatbuffers::FlatBufferBuilder& b,
                                         const LayerGroup& group) {
  std::vector<fb::Place> places;
  places.reserve(group.places.size());
  for (const TensorPlace& place : group.places) {
    places.emplace_back(place.offset_bytes, place.block_stride_bytes, place.section.value);
  }
  const auto layers = b.CreateVector(group.layers);
  const auto place_vector = b.CreateVectorOfStructs(places);
  return fb::CreateGroup(b, static_cast<uint8_t>(group.kind), static_cast<uint8_t>(group.dtype),
                         static_cast<uint8_t>(group.order), group.block_tokens, group.window_tokens,
                         group.heads_total, group.head_first, group.heads, group.head_elements,
                         group.tensors_per_layer, group.num_blocks, layers, place_vector);
}

void read_group(Reader& r, const fb::Group& in, LayerGroup& out) {
  out.kind = GroupKind{in.kind()};
  out.dtype = DType{in.dtype()};
  out.order = TokenOrder{in.order()};
  out.block_tokens = in.block_tokens();
  out.window_tokens = in.window_tokens();
  out.heads_total = in.heads_total();
  out.head_first = in.head_first();
  out.heads = in.heads();
  out.head_elements = in.head_elements();
  out.tensors_per_layer = in.tensors_per_layer();
  out.num_blocks = in.num_blocks();
  r.scalars("group.layers", in.layers(), out.layers);
  r.structs("group.places", in.places(), out.places, [](const fb::Place& place) {
    return TensorPlace{SectionId(place.section()), place.offset_bytes(),
                       place.block_stride_bytes()};
  });
}

}  // namespace

flatbuffers::Offset<fb::Layout> add_layout(flatbuffers::FlatBufferBuilder& builder,
                                           const Layout& layout) {
  std::vector<flatbuffers::Offset<fb::Group>> groups;
  groups.reserve(layout.groups.size());
  for (const LayerGroup& group : layout.groups) groups.push_back(add_group(builder, group));
  return fb::CreateLayout(builder, builder.CreateVector(groups));
}

void read_layout(Reader& reader, const fb::Layout& in, Layout& out) {
  reader.tables("layout.groups", in.groups(), kMaxLayoutGroups, out.groups, read_group);
}

}  // namespace baton::wire
