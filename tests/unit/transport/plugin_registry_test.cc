#include "src/transport/plugin_registry.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace baton::transport {
namespace {

// Complete, and never called.
baton_plugin make_table(const char* name) {
  baton_plugin table{};
  table.struct_size = sizeof(table);
  table.abi = BATON_PLUGIN_ABI;
  table.name = name;
  table.summary = "never called";
  table.probe = [](const baton_rail_options*, baton_probe*) { return BATON_RC_OK; };
  table.rail_open = [](const baton_host*, const baton_rail_options*, baton_rail**, char*) {
    return BATON_RC_UNAVAILABLE;
  };
  table.rail_close = [](baton_rail*) {};
  table.capabilities = [](const baton_rail*, baton_capabilities*) {};
  table.region_register = [](baton_rail*, void*, uint64_t, uint64_t, baton_region**,
                             baton_region_key*, char*) { return BATON_RC_OK; };
  table.region_unregister = [](baton_rail*, baton_region*) {};
  table.path_open = [](baton_rail*, const baton_path_options*, baton_path**, char*) {
    return BATON_RC_OK;
  };
  table.path_address = [](baton_path*, uint8_t*, uint32_t*) { return BATON_RC_OK; };
  table.path_connect = [](baton_path*, const uint8_t*, uint32_t, char*) { return BATON_RC_OK; };
  table.path_close = [](baton_path*) {};
  table.post = [](baton_path*, const baton_post*, uint32_t, uint32_t*) { return BATON_RC_OK; };
  table.flush = [](baton_path*, uint64_t, uint64_t) { return BATON_RC_OK; };
  table.fence = [](baton_path*) {};
  table.progress = [](baton_rail*, uint64_t) { return 0u; };
  table.wait_fd = [](baton_rail*) { return -1; };
  table.arm = [](baton_rail*) { return 0u; };
  return table;
}

bool is_loaded(const char* path) {
  void* library = ::dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) return false;
  (void)::dlclose(library);
  return true;
}

TEST(PluginRegistry, FindsWhatWasAdded) {
  const baton_plugin loopback = make_table("loopback");
  const baton_plugin tcp = make_table("tcp");
  PluginRegistry registry;
  EXPECT_EQ(registry.find("tcp").status(),
            Status(StatusCode::kUnavailable, "no plug-in named \"tcp\"; known: none"));
  ASSERT_TRUE(registry.add_builtin(&loopback).is_ok());
  ASSERT_TRUE(registry.add_builtin(&tcp).is_ok());
  EXPECT_EQ(registry.find("tcp").value(), &tcp);
  EXPECT_EQ(registry.list(), (std::vector<const baton_plugin*>{&loopback, &tcp}));
  EXPECT_EQ(registry.find("verbs").status(),
            Status(StatusCode::kUnavailable, "no plug-in named \"verbs\"; known: loopback, tcp"));
}

TEST(PluginRegistry, RefusesANameTwice) {
  const baton_plugin one = make_table("tcp");
  const baton_plugin two = make_table("tcp");
  PluginRegistry registry;
  ASSERT_TRUE(registry.add_builtin(&one).is_ok());
  EXPECT_EQ(registry.add_builtin(&two),
            Status(StatusCode::kInvalidArgument,
                   "linked-in plug-in: the plug-in name \"tcp\" is taken by the linked-in "
                   "plug-in"));
  EXPECT_EQ(registry.list().size(), 1u);
}

TEST(PluginRegistry, RegistriesDoNotShare) {
  const baton_plugin tcp = make_table("tcp");
  PluginRegistry one;
  PluginRegistry two;
  ASSERT_TRUE(one.add_builtin(&tcp).is_ok());
  EXPECT_FALSE(two.find("tcp").is_ok());
}

// Each function pointer in turn: none may be forgotten by the check. They lie one behind the other
// from `probe` to `arm`.
TEST(PluginRegistry, RefusesATableThatLacksAnyFunction) {
  constexpr size_t kFirst = offsetof(baton_plugin, probe);
  constexpr size_t kFunctions = (sizeof(baton_plugin) - kFirst) / sizeof(void (*)());
  for (size_t i = 0; i < kFunctions; ++i) {
    baton_plugin table = make_table("holey");
    std::memset(reinterpret_cast<char*>(&table) + kFirst + i * sizeof(void (*)()), 0,
                sizeof(void (*)()));
    PluginRegistry registry;
    const Status status = registry.add_builtin(&table);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << "function " << i;
    EXPECT_NE(status.message().find("lacks the function"), std::string::npos);
  }
}

TEST(PluginRegistry, LoadsAFileAndClosesItAtTheEnd) {
  ASSERT_FALSE(is_loaded(BATON_TEST_PLUGIN_GOOD_FILE));
  {
    PluginRegistry registry;
    auto plugin = registry.load_file(BATON_TEST_PLUGIN_GOOD_FILE);
    ASSERT_TRUE(plugin.is_ok()) << plugin.status().to_string();
    EXPECT_STREQ(plugin.value()->name, "test-good");
    EXPECT_EQ(registry.find("test-good").value(), plugin.value());
    baton_probe probe{};
    EXPECT_EQ(plugin.value()->probe(nullptr, &probe), BATON_RC_OK);
    EXPECT_TRUE(is_loaded(BATON_TEST_PLUGIN_GOOD_FILE));
    // Expect: the same file again is a taken name, and the first stays.
    EXPECT_EQ(registry.load_file(BATON_TEST_PLUGIN_GOOD_FILE).code(), StatusCode::kInvalidArgument);
    EXPECT_TRUE(is_loaded(BATON_TEST_PLUGIN_GOOD_FILE));
  }
  EXPECT_FALSE(is_loaded(BATON_TEST_PLUGIN_GOOD_FILE));
}

TEST(PluginRegistry, TakesATableOfALaterVersion) {
  PluginRegistry registry;
  EXPECT_TRUE(registry.load_file(BATON_TEST_PLUGIN_LONGER_FILE).is_ok());
}

TEST(PluginRegistry, SaysWhyAFileIsRefused) {
  const struct {
    const char* path;
    StatusCode code;
    const char* reason;
  } cases[] = {
      {BATON_TEST_PLUGIN_WRONG_ABI_FILE, StatusCode::kMismatch,
       "plug-in ABI 42, this version speaks 1"},
      {BATON_TEST_PLUGIN_SHORT_FILE, StatusCode::kMismatch, "bytes long, this version needs"},
      {BATON_TEST_PLUGIN_TINY_FILE, StatusCode::kMismatch, "its table is only 8 bytes long"},
      {BATON_TEST_PLUGIN_NO_ENTRY_FILE, StatusCode::kUnavailable, "baton_plugin_entry"},
      {BATON_TEST_PLUGIN_NO_FUNCTION_FILE, StatusCode::kInvalidArgument,
       "plug-in \"test-no_function\" lacks the function region_unregister"},
      {BATON_TEST_PLUGIN_NO_NAME_FILE, StatusCode::kInvalidArgument, "its table has no name"},
      {BATON_TEST_PLUGIN_NULL_FILE, StatusCode::kInvalidArgument, "its entry returned no table"},
      {"/nowhere/libnone.so", StatusCode::kUnavailable, "No such file or directory"},
  };
  PluginRegistry registry;
  for (const auto& refused : cases) {
    SCOPED_TRACE(refused.path);
    const auto loaded = registry.load_file(refused.path);
    EXPECT_EQ(loaded.code(), refused.code);
    EXPECT_NE(loaded.status().message().find(refused.reason), std::string::npos)
        << loaded.status().message();
    EXPECT_NE(loaded.status().message().find(refused.path), std::string::npos)
        << loaded.status().message();
    EXPECT_FALSE(is_loaded(refused.path));
  }
  EXPECT_TRUE(registry.list().empty());
  EXPECT_EQ(registry.load_file("").status(),
            Status(StatusCode::kInvalidArgument, "plug-in file: the path is empty"));
}

}  // namespace
}  // namespace baton::transport
