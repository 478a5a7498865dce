# Headers that nearly every file includes, parsed once, where BATON_PCH is on: in the presets with sanitizers. The others
# compile each file with its own includes alone, so that one which it forgot is noticed.
option(BATON_PCH "Precompile the standard headers and GoogleTest's" OFF)

set(BATON_PRECOMPILED_HEADERS
    <algorithm> <array> <atomic> <chrono> <cstdint> <cstring> <deque> <functional> <map> <memory> <mutex> <optional>
    <set> <span> <string> <thread> <utility> <vector>)

# Components and programs differ in how their code is addressed (PIC, PIE), and compilers do not mix the two.
if(BATON_PCH)
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/precompiled.cc" CONTENT "int main() { return 0; }\n")
  add_library(baton_precompiled STATIC "${PROJECT_BINARY_DIR}/precompiled.cc")
  target_link_libraries(baton_precompiled PRIVATE baton_settings)
  target_precompile_headers(baton_precompiled PRIVATE ${BATON_PRECOMPILED_HEADERS})
  if(BATON_BUILD_TESTS)
    add_executable(baton_test_precompiled "${PROJECT_BINARY_DIR}/precompiled.cc")
    target_link_libraries(baton_test_precompiled PRIVATE baton_settings GTest::gmock)
    target_precompile_headers(baton_test_precompiled PRIVATE ${BATON_PRECOMPILED_HEADERS} <gmock/gmock.h>
                              <gtest/gtest.h> "${PROJECT_SOURCE_DIR}/include/baton/context.h")
  endif()
endif()

# FROM: baton_precompiled or baton_test_precompiled.
function(baton_precompile target from)
  if(BATON_PCH)
    target_precompile_headers(${target} REUSE_FROM ${from})
  endif()
endfunction()
