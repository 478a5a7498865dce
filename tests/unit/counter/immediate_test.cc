#include "src/counter/immediate.h"

#include <gtest/gtest.h>

namespace baton::counter {
namespace {

TEST(Immediate, FieldsLieWhereTheFormatSays) {
  EXPECT_EQ(pack({SlotIndex(0), 0, 1}), 0u);
  EXPECT_EQ(pack({SlotIndex(0), 0, 256}), 0x000000ffu);
  EXPECT_EQ(pack({SlotIndex(0), 63, 1}), 0x00003f00u);
  EXPECT_EQ(pack({SlotIndex(kMaxSlots - 1), 0, 1}), 0xffffc000u);
}

TEST(Immediate, EveryWeightAndGenerationComesBack) {
  for (uint32_t slot : {0u, 1u, 2u, 1000u, 131072u, kMaxSlots - 2, kMaxSlots - 1}) {
    for (uint32_t generation = 0; generation < kNumGenerations; ++generation) {
      for (uint32_t weight = 1; weight <= kMaxWeight; ++weight) {
        const Immediate sent{SlotIndex(slot), static_cast<uint8_t>(generation), weight};
        ASSERT_EQ(unpack(pack(sent)), sent) << slot << " " << generation << " " << weight;
      }
    }
  }
}

TEST(Immediate, EverySlotComesBack) {
  for (uint32_t slot = 0; slot < kMaxSlots; ++slot) {
    ASSERT_EQ(unpack(pack({SlotIndex(slot), 5, 7})), (Immediate{SlotIndex(slot), 5, 7}));
  }
}

TEST(Immediate, AnyBitsUnpackToSomethingThatPacksBack) {
  // A stride that is odd visits all residues of each field.
  for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 65537) {
    const auto word = static_cast<uint32_t>(bits);
    ASSERT_EQ(pack(unpack(word)), word);
  }
}

}  // namespace
}  // namespace baton::counter
