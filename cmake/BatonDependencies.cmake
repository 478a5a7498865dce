# The libraries that Baton uses; scripts/packages.txt lists the Debian packages that carry them.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
# Header-only, so that neither their symbols nor their shared libraries reach the user's process.
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET hwloc)

# The FlatBuffers runtime is header-only in what Baton uses of it (builder and verifier).
find_path(FLATBUFFERS_INCLUDE_DIR flatbuffers/flatbuffers.h REQUIRED)
find_program(FLATC_EXECUTABLE flatc REQUIRED)
add_library(baton_flatbuffers INTERFACE)
target_include_directories(baton_flatbuffers SYSTEM INTERFACE "${FLATBUFFERS_INCLUDE_DIR}")

# spdlog with the system's fmt, both header-only. Its own target would add libfmt to the link.
add_library(baton_spdlog INTERFACE)
target_link_libraries(baton_spdlog INTERFACE fmt::fmt-header-only Threads::Threads)
target_compile_definitions(baton_spdlog INTERFACE SPDLOG_FMT_EXTERNAL)
get_target_property(spdlog_include_dirs spdlog::spdlog_header_only INTERFACE_INCLUDE_DIRECTORIES)
target_include_directories(baton_spdlog SYSTEM INTERFACE ${spdlog_include_dirs})

find_package(CLI11 QUIET)
find_package(nlohmann_json QUIET)
if(BATON_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()

# Optional: nothing uses it yet. The line in the configure output tells whether a build for GPUs could be made here.
find_package(CUDAToolkit QUIET)
if(CUDAToolkit_FOUND)
  message(STATUS "CUDA: ${CUDAToolkit_VERSION} at ${CUDAToolkit_TARGET_DIR} (optional; not used yet)")
else()
  message(STATUS "CUDA: not found (optional; not used yet)")
endif()
