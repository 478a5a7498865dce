// GgufFile::parse and all that loads from it, on any bytes: no read past the end, no assertion, no
// memory far beyond the input's size; a tensor lies inside the input, a token inside the
// vocabulary, and a model that loads also runs.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "examples/reference_engine/dequantize.h"
#include "examples/reference_engine/forward_pass.h"
#include "examples/reference_engine/load_model.h"
#include "examples/reference_engine/load_tokenizer.h"

namespace {

using baton_engine::ComputePool;
using baton_engine::ForwardPass;
using baton_engine::GgufFile;
using baton_engine::KvPool;
using baton_engine::Model;
using baton_engine::Sequence;
using baton_engine::Tokenizer;

void require(bool condition) {
  if (!condition) std::abort();
}

// A refusal names the file.
void require_named(const baton::Status& status) {
  require(!status.is_ok() && status.message().starts_with("fuzz.gguf: "));
}

void read_tensors(const GgufFile& file, const uint8_t* data, size_t size) {
  for (const auto& [name, tensor] : file.tensors()) {
    require(tensor.bytes.data() >= data &&
            tensor.bytes.data() + tensor.bytes.size() <= data + size);
    std::vector<float> row(tensor.columns());
    baton_engine::dequantize_row(tensor, 0, row);
    baton_engine::dequantize_row(tensor, tensor.rows() - 1, row);
  }
}

void use_tokenizer(const Tokenizer& tokenizer) {
  constexpr std::string_view kText = "ab 12 <|im_end|>\n";
  const auto tokens = tokenizer.encode(kText);
  if (!tokens.is_ok()) return;
  require(tokens->size() <= kText.size() + 1);
  for (const uint32_t token : *tokens) require(token < tokenizer.vocabulary_size());
  static_cast<void>(tokenizer.decode(*tokens));
}

void use_model(const Model& model, ComputePool& compute) {
  baton_engine::KvPoolOptions options;
  options.shape = ForwardPass::kv_shape(model.config());
  options.shape.block_tokens = 2;
  options.shape.num_blocks = 2;
  auto pool = KvPool::create(options);
  if (!pool.is_ok()) return;
  auto sequence = Sequence::create(*pool, 3);
  auto forward = ForwardPass::create(model, compute, {.chunk_tokens = 2});
  if (!forward.is_ok()) return;
  const uint32_t last = model.config().vocabulary - 1;
  const std::vector<uint32_t> prompt = {0, last};
  require(forward->prefill(*sequence, prompt, nullptr).is_ok() ==
          (model.config().context_tokens >= 2));
  if (model.config().context_tokens < 3) return;
  const auto logits = forward->decode(*sequence, last, nullptr);
  require(logits.is_ok() && logits->size() == model.config().vocabulary);
}

// The rotary table and the attention's scratch follow from numbers, not from bytes of the file.
bool is_small(const GgufFile& file) {
  constexpr uint64_t kMaxContext = 64;
  constexpr uint64_t kMaxWidth = 64;
  const auto context = file.get_unsigned("llama.context_length");
  const auto hidden = file.get_unsigned("llama.embedding_length");
  const auto heads = file.get_unsigned("llama.attention.head_count");
  return !(context.is_ok() && *context > kMaxContext) && !(hidden.is_ok() && *hidden > kMaxWidth) &&
         !(heads.is_ok() && *heads > kMaxWidth);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static ComputePool compute(1);
  const auto file = GgufFile::parse({data, size}, "fuzz.gguf");
  if (!file.is_ok()) {
    require_named(file.status());
    return 0;
  }
  read_tensors(*file, data, size);
  const auto tokenizer = baton_engine::load_tokenizer(*file);
  if (tokenizer.is_ok()) {
    use_tokenizer(*tokenizer);
  } else {
    require_named(tokenizer.status());
  }
  if (!is_small(*file)) return 0;
  const auto model = baton_engine::load_gguf_model(*file, compute);
  if (model.is_ok()) {
    use_model(**model, compute);
  } else {
    require_named(model.status());
  }
  return 0;
}
