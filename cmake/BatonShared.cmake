# The shared library `baton`: the objects of every component, the linked-in plug-ins included. What it exports is what
# carries BATON_EXPORT, and of that only what cmake/baton.map lets through.

configure_file("${PROJECT_SOURCE_DIR}/include/baton/version.h.in"
               "${PROJECT_BINARY_DIR}/include/baton/version.h" @ONLY)

get_property(components GLOBAL PROPERTY BATON_COMPONENTS)
set(objects "")
foreach(component IN LISTS components)
  list(APPEND objects "$<TARGET_OBJECTS:${component}>")
endforeach()

add_library(baton SHARED ${objects})
add_library(baton::baton ALIAS baton)
set_target_properties(baton PROPERTIES LINKER_LANGUAGE CXX VERSION ${PROJECT_VERSION} SOVERSION 0)
target_compile_features(baton PUBLIC cxx_std_20)
target_link_libraries(baton PRIVATE OpenSSL::SSL OpenSSL::Crypto PkgConfig::HWLOC Threads::Threads
                                    ${CMAKE_DL_LIBS})
target_link_options(baton PRIVATE -Wl,--as-needed "LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/baton.map")
set_property(TARGET baton APPEND PROPERTY LINK_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/baton.map")
if(NOT BATON_SANITIZE)
  # Sanitizer run-times are resolved in the program, not in the library.
  target_link_options(baton PRIVATE -Wl,--no-undefined)
endif()

# Every header below include/baton is public, so this list is the folder's content, but for the tables of the linked-in
# plug-ins: the library does not export those.
file(GLOB_RECURSE public_headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/baton/*.h")
list(REMOVE_ITEM public_headers "${PROJECT_SOURCE_DIR}/include/baton/plugin/builtin.h")
target_sources(
  baton
  PUBLIC FILE_SET
         HEADERS
         BASE_DIRS
         "${PROJECT_SOURCE_DIR}/include"
         "${PROJECT_BINARY_DIR}/include"
         FILES
         ${public_headers}
         "${PROJECT_BINARY_DIR}/include/baton/version.h")
# `cmake --build ... --target all_verify_interface_header_sets` compiles each public header alone.
set_target_properties(baton PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)

include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/baton")
install(TARGETS baton EXPORT baton-targets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT baton-targets NAMESPACE baton:: DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/baton-config-version.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_SOURCE_DIR}/cmake/baton-config.cmake"
              "${PROJECT_BINARY_DIR}/baton-config-version.cmake" DESTINATION "${package_dir}")
# From the .pc file's folder back to the prefix, so that an installed tree can be moved.
file(RELATIVE_PATH BATON_PC_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
configure_file("${PROJECT_SOURCE_DIR}/cmake/baton.pc.in" "${PROJECT_BINARY_DIR}/baton.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/baton.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
