# find_package(baton) gives the target baton::baton. The library has no public dependencies.
include("${CMAKE_CURRENT_LIST_DIR}/baton-targets.cmake")
