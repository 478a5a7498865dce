// How the report's forms for people write numbers and foreign text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace baton_engine {

// "0.042", "7.31", "48.2", "1,304": milliseconds with three significant digits, whole from 100 on.
std::string format_ms(double milliseconds);
// "12.3 MB", "640 KB", "17 bytes": powers of ten.
std::string format_bytes(uint64_t bytes);
// "1,003".
std::string format_count(uint64_t count);
// "1 token", "1,003 tokens".
std::string format_count_of(uint64_t count, std::string_view thing);
// "92.4 %". Three nines show as three nines: never rounded up to "100 %".
std::string format_share(double share);

// `text` as UTF-8 that neither a terminal nor XML stumbles over: ill-formed bytes and control
// characters but newline and tab become U+FFFD.
std::string clean_text(std::string_view text);

// "SmolLM2-135M-Instruct.Q4_1" of ".../SmolLM2-135M-Instruct.Q4_1.gguf"; cleaned.
std::string model_name(std::string_view model);

}  // namespace baton_engine
