#include "examples/reference_engine/timeline_svg.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine_report/sample_report.h"
#include "tests/engine_report/xml_reader.h"

namespace {

using baton_engine::RunReport;
using baton_engine::timeline_svg;
using baton_test::find_elements;
using baton_test::sample_report;
using baton_test::XmlElement;

std::unique_ptr<XmlElement> picture(const RunReport& report) {
  std::string error;
  auto root = baton_test::read_xml(timeline_svg(report), &error);
  EXPECT_NE(root, nullptr) << error;
  return root;
}

bool says(const XmlElement& root, const std::string& element, const std::string& text) {
  const auto all = find_elements(root, element);
  return std::any_of(all.begin(), all.end(), [&](const XmlElement* one) {
    return one->text.find(text) != std::string::npos;
  });
}

// All that is drawn lies on the paper. Text may be anchored, so only its base point counts.
void expect_inside(const XmlElement& root) {
  const double width = std::stod(root.attributes.at("width"));
  const double height = std::stod(root.attributes.at("height"));
  const auto check = [&](double x, double y) {
    EXPECT_TRUE(x >= 0 && x <= width) << x;
    EXPECT_TRUE(y >= 0 && y <= height) << y;
  };
  for (const XmlElement* rect : find_elements(root, "rect")) {
    const double x = std::stod(rect->attributes.at("x"));
    const double y = std::stod(rect->attributes.at("y"));
    check(x, y);
    check(x + std::stod(rect->attributes.at("width")),
          y + std::stod(rect->attributes.at("height")));
    EXPECT_GE(std::stod(rect->attributes.at("width")), 0);
  }
  for (const XmlElement* line : find_elements(root, "line")) {
    check(std::stod(line->attributes.at("x1")), std::stod(line->attributes.at("y1")));
    check(std::stod(line->attributes.at("x2")), std::stod(line->attributes.at("y2")));
  }
  for (const XmlElement* text : find_elements(root, "text")) {
    check(std::stod(text->attributes.at("x")), std::stod(text->attributes.at("y")));
  }
}

TEST(TimelineSvgTest, ShowsBothHandOffs) {
  const auto root = picture(sample_report());
  ASSERT_NE(root, nullptr);
  EXPECT_EQ(root->name, "svg");
  EXPECT_EQ(root->attributes.at("xmlns"), "http://www.w3.org/2000/svg");
  expect_inside(*root);
  EXPECT_TRUE(says(*root, "text", "SmolLM2-135M-Instruct.Q4_1"));
  EXPECT_TRUE(says(*root, "text", "1,024 prompt tokens in 4 chunks"));
  EXPECT_TRUE(says(*root, "text", "push over tcp"));
  EXPECT_TRUE(says(*root, "text", "tail 1.18 ms"));
  EXPECT_TRUE(says(*root, "text", "93.3 %"));
  EXPECT_TRUE(says(*root, "text", "transfer 17.8 ms"));
  EXPECT_TRUE(says(*root, "text", "equal"));
  // A row per layer in each of four panels says its moments to a pointer.
  const auto titles = find_elements(*root, "title");
  const auto of_layers = std::count_if(titles.begin(), titles.end(), [](const XmlElement* title) {
    return title->text.starts_with("layer ");
  });
  EXPECT_EQ(of_layers, 4 * 30);
  EXPECT_TRUE(says(*root, "title",
                   "layer 29\ncomputed 4558.280 ms\nposted 4558.473 ms\n"
                   "placed 4559.460 ms\nseen by decode 4596.880 ms"));
}

TEST(TimelineSvgTest, HasOwnPaperAndNoScripts) {
  const auto root = picture(sample_report());
  ASSERT_NE(root, nullptr);
  const auto rects = find_elements(*root, "rect");
  ASSERT_FALSE(rects.empty());
  EXPECT_EQ(rects.front()->attributes.at("fill"), "#ffffff");
  const double width = std::stod(root->attributes.at("width"));
  EXPECT_GE(std::stod(rects.front()->attributes.at("width")), width - 1);
  for (const char* name : {"script", "image", "use", "foreignObject", "style", "a"}) {
    EXPECT_TRUE(find_elements(*root, name).empty()) << name;
  }
}

// The bars of both hand-offs begin at the same x: one scale of milliseconds since prefill began.
TEST(TimelineSvgTest, PanelsShareTheScale) {
  const auto root = picture(sample_report());
  ASSERT_NE(root, nullptr);
  std::vector<std::string> x;
  for (const XmlElement* text : find_elements(*root, "text")) {
    if (text->text == "2,000") x.push_back(text->attributes.at("x"));
  }
  ASSERT_EQ(x.size(), 2U);
  EXPECT_EQ(x[0], x[1]);
}

TEST(TimelineSvgTest, CloseUpWhereDecodeFollows) {
  const auto root = picture(sample_report({.decode_follows = true}));
  ASSERT_NE(root, nullptr);
  expect_inside(*root);
  EXPECT_TRUE(says(*root, "text", "layers 0 to 26 were placed and used before"));
  EXPECT_TRUE(says(*root, "text", "layer 29, magnified more"));
  EXPECT_TRUE(says(*root, "text", "placed +1.18"));
}

TEST(TimelineSvgTest, PushAfterAloneIsOneSection) {
  RunReport report = sample_report();
  report.hand_off = "push-after";
  report.handoff = report.push_after;
  const auto root = picture(report);
  ASSERT_NE(root, nullptr);
  EXPECT_TRUE(says(*root, "text", "every layer leaves only when all of prefill is done"));
  EXPECT_FALSE(says(*root, "text", "each layer leaves as soon as it is computed"));
}

TEST(TimelineSvgTest, APullSaysWhoReads) {
  RunReport report = sample_report();
  EXPECT_TRUE(says(*picture(report), "text", "posted: the transport took its last unit"));
  report.hand_off = "pull";
  const auto root = picture(report);
  ASSERT_NE(root, nullptr);
  expect_inside(*root);
  EXPECT_TRUE(says(*root, "text", "pull over tcp"));
  EXPECT_TRUE(says(*root, "text", "decode reads each layer as soon as it is computed"));
  EXPECT_TRUE(says(*root, "text", "posted: decode was told to read its last tokens"));
  EXPECT_FALSE(says(*root, "text", "each layer leaves as soon as it is computed"));
}

TEST(TimelineSvgTest, NothingHandedOver) {
  const auto root = picture(RunReport{});
  ASSERT_NE(root, nullptr);
  expect_inside(*root);
  EXPECT_TRUE(says(*root, "text", "Nothing was handed over."));
}

TEST(TimelineSvgTest, ForeignTextStaysText) {
  RunReport report = sample_report({.num_layers = 2, .num_chunks = 1});
  report.model = "/x/<a&b>\"\x01\xff\xef\xbf\xbf.gguf";
  report.transport = "]]><script>";
  report.kv_dtype = "\xc3";
  const auto root = picture(report);
  ASSERT_NE(root, nullptr);
  EXPECT_TRUE(
      says(*root, "text", "<a&b>\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xc2\xb7 256 prompt"));
  EXPECT_TRUE(find_elements(*root, "script").empty());
}

TEST(TimelineSvgTest, TwoClocksShowPrefillAlone) {
  RunReport report = sample_report();
  report.clock_is_shared = false;
  for (auto* handoff : {&report.handoff, &report.push_after}) {
    for (auto& layer : handoff->layers) {
      layer.placed_ns -= 5'000'000'000'000;
      layer.seen_ns -= 5'000'000'000'000;
    }
  }
  const auto root = picture(report);
  ASSERT_NE(root, nullptr);
  expect_inside(*root);
  EXPECT_TRUE(says(*root, "text", "prefill and decode have different clocks"));
  EXPECT_FALSE(says(*root, "text", "93.3 %"));
  EXPECT_FALSE(says(*root, "title", "placed"));
}

// Moments that did not happen, many layers, one layer, times in the wrong order: a picture, still.
TEST(TimelineSvgTest, OddReports) {
  for (const uint32_t num_layers : {1U, 3U, 80U}) {
    for (const uint32_t num_chunks : {0U, 1U, 40U}) {
      RunReport report = sample_report({.num_layers = num_layers, .num_chunks = 1});
      report.handoff.chunks.resize(num_chunks);
      report.handoff.layers.back().seen_ns = 0;
      report.handoff.layers.front().posted_ns = 0;
      std::swap(report.handoff.layers.back().placed_ns, report.handoff.layers.back().computed_ns);
      report.push_after.first_token_ns = 0;
      const auto root = picture(report);
      ASSERT_NE(root, nullptr);
      expect_inside(*root);
    }
  }
  RunReport zeros = sample_report();
  zeros.handoff = {};
  zeros.handoff.layers.resize(4);
  const auto root = picture(zeros);
  ASSERT_NE(root, nullptr);
  expect_inside(*root);
}

}  // namespace
