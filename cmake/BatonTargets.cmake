# baton_library(), baton_test(), baton_tool(), baton_fuzz(): the kinds of target in this tree.
#
# All take NAME first, then SOURCES and DEPS (targets). Sources are listed, never globbed.

# Adds a folder that is there; a folder that no work has filled yet does not exist.
function(baton_add_folder folder)
  if(EXISTS "${PROJECT_SOURCE_DIR}/${folder}/CMakeLists.txt")
    add_subdirectory("${PROJECT_SOURCE_DIR}/${folder}" "${PROJECT_BINARY_DIR}/${folder}")
  endif()
endfunction()

# A static component of libbaton, also linked by unit tests.
function(baton_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS")
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC baton_settings ${arg_DEPS})
  baton_precompile(${name} baton_precompiled)
  set_property(GLOBAL APPEND PROPERTY BATON_COMPONENTS ${name})
endfunction()

# A program in bin/ that is installed, unless NO_INSTALL. It sees the public headers of `baton`.
function(baton_tool name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "NO_INSTALL" "" "SOURCES;DEPS")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE baton_settings ${arg_DEPS})
  if(NOT arg_NO_INSTALL)
    install(TARGETS ${name} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  endif()
endfunction()

# A GoogleTest program: one ctest entry. Tests run side by side, so each keeps to ephemeral ports and its own temporary
# folder. LABELS for ctest -L; TIMEOUT_S (default 60); SERIAL for a test that measures time; NO_MAIN when the sources
# have a main of their own (two-process tests that re-run themselves); ARGS for the command line.
function(baton_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL;NO_MAIN" "TIMEOUT_S" "SOURCES;DEPS;LABELS;ARGS")
  if(NOT arg_TIMEOUT_S)
    set(arg_TIMEOUT_S 60)
  endif()
  if(BATON_SANITIZE)
    math(EXPR arg_TIMEOUT_S "${arg_TIMEOUT_S} * 4")
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE baton_settings ${arg_DEPS} baton_test_support)
  baton_precompile(${name} baton_test_precompiled)
  if(NOT arg_NO_MAIN)
    target_link_libraries(${name} PRIVATE baton_test_main)
  endif()
  add_test(NAME ${name} COMMAND ${name} ${arg_ARGS})
  set_tests_properties(
    ${name}
    PROPERTIES TIMEOUT ${arg_TIMEOUT_S}
               LABELS "${arg_LABELS}"
               RUN_SERIAL ${arg_SERIAL}
               ENVIRONMENT "${BATON_TEST_ENVIRONMENT}")
endfunction()

# Another ctest entry of a baton_test's program, with other arguments.
function(baton_test_again name program)
  add_test(NAME ${name} COMMAND ${program} ${ARGN})
  foreach(property IN ITEMS TIMEOUT LABELS ENVIRONMENT)
    get_test_property(${program} ${property} value)
    set_tests_properties(${name} PROPERTIES ${property} "${value}")
  endforeach()
  set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "BATON_TEST_ENTRY=${name}")
endfunction()

# A fuzz target: SOURCES define LLVMFuzzerTestOneInput; CORPUS is a folder of seed inputs. With BATON_FUZZ it is a
# libFuzzer program; otherwise one that runs its corpus once. Both are ctest entries that run the corpus.
function(baton_fuzz name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "CORPUS" "SOURCES;DEPS")
  cmake_path(ABSOLUTE_PATH arg_CORPUS BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE baton_settings ${arg_DEPS})
  if(BATON_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_test(NAME ${name} COMMAND ${name} -runs=0 "${arg_CORPUS}")
  else()
    target_link_libraries(${name} PRIVATE baton_fuzz_main)
    add_test(NAME ${name} COMMAND ${name} "${arg_CORPUS}")
  endif()
  set_tests_properties(
    ${name} PROPERTIES TIMEOUT 120 LABELS fuzz ENVIRONMENT "${BATON_TEST_ENVIRONMENT}")
  # "name corpus" lines for .ci/run.
  set_property(GLOBAL APPEND_STRING PROPERTY BATON_FUZZ_TARGETS "${name} ${arg_CORPUS}\n")
endfunction()

# baton_plugin_module(NAME ENTRY LIBRARY...): a plug-in as a library of its own, which exports C names of Baton's only.
function(baton_plugin_module name entry)
  set(map "${PROJECT_SOURCE_DIR}/cmake/baton_plugin.map")
  add_library(${name} MODULE ${entry})
  target_link_libraries(${name} PRIVATE ${ARGN})
  target_link_options(${name} PRIVATE "LINKER:--version-script=${map}")
  set_target_properties(${name} PROPERTIES PREFIX "" LINK_DEPENDS "${map}")
endfunction()
