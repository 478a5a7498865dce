#include "baton/version.h"

#include <gtest/gtest.h>

#include <string>

namespace baton {
namespace {

TEST(VersionTest, LibraryAndHeadersAgree) {
  EXPECT_EQ(version(), BATON_VERSION_STRING);
  EXPECT_EQ(std::string(version()), std::to_string(BATON_VERSION_MAJOR) + "." +
                                        std::to_string(BATON_VERSION_MINOR) + "." +
                                        std::to_string(BATON_VERSION_PATCH));
}

}  // namespace
}  // namespace baton
