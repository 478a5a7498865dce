#!/usr/bin/env python3
"""Computes what the engine's tests compare with, by other people's code and by another arithmetic.

  make_reference.py --model FILE.gguf            checks that the committed files are what it computes
  make_reference.py --model FILE.gguf --write    writes them

reference/tokenizer.json: token ids by the PyPI package `tokenizers`, built from the GGUF's metadata;
chat prompts through the model's own Jinja template. reference/dequantize.json: random blocks of every
type, and tensors of the model, de-quantised by the PyPI package `gguf`. reference/forward.json: hidden
states and logits by a plain numpy pass in float64 over the weights that `gguf` de-quantises.

Needs: pip install numpy gguf tokenizers jinja2
"""

import argparse
import json
import pathlib
import random
import sys
import unicodedata

import gguf
import jinja2
import numpy as np
import tokenizers

FOLDER = pathlib.Path(__file__).resolve().parent / "reference"

TEXTS = {
    "english": "It was the best of times, it was the worst of times; I'd say we've all been there, don't you?",
    "latin with marks": "Příliš žluťoučký kůň úpěl ďábelské ódy. Ünïcödé ñandú, œuvre, Łódź, Ærø, İstanbul.",
    "greek": "Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.",
    "cyrillic": "Съешь же ещё этих мягких французских булок, да выпей чаю. Їжак Ґалаґан.",
    "hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם",
    "arabic": "صِف خَلقَ خَودِ كَمِثلِ الشَمسِ إِذ بَزَغَت ١٢٣٤٥",
    "devanagari": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण १२३",
    "bengali and tamil": "আমি কাঁচ খেতে পারি। நான் கண்ணாடி சாப்பிடுவேன்.",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ๑๒๓",
    "han": "天地玄黃,宇宙洪荒。日月盈昃,辰宿列張。一二三四五",
    "japanese": "いろはにほへと ちりぬるを。カタカナ、漢字とABC123。",
    "hangul": "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
    "georgian, armenian, ethiopic": "მინას ვჭამ. Կրնամ ապակի ուտել։ ሰማይ አይታረስ ንጉሥ አይከሰስ።",
    "emoji": "👋🌍! 👩‍👩‍👧‍👦 🏳️‍🌈 ☕️😀😃 e\u0301 x\u0302\u0303",
    "digits": "0 1 22 333 4444 3.14159 1,000,000 2024-02-29 0x1F ½ ² Ⅷ ٣ ৪",
    "space runs": "  two   three\tTab\t\tTabs \n newline\n\n\nlines  \r\n end   ",
    "odd spaces": "a\u00a0b\u2003c\u3000d\u2028e\u1680f\u0085g\u000bh\u200bi\u180ej",
    "space before digits": "abc   123   456 \n 7",
    "contractions": "it's it'S don't I'll I'LL you've we'd they're I'm 'tis 'quoted' o'clock''s",
    "c++": "#include <vector>\nint main() {\n  std::vector<int> v{1, 2, 3};\n\tfor (auto& x : v) x *= 2;\n  return v[0] != 2;  // ok\n}\n",
    "python": 'def f(x: int) -> str:\n    """Doc."""\n    return f"{x:>10,.2f}" if x else None\n',
    "signs": "!!! ??? ... --- *** ### $$$ %%% &&& @@@ ~~~ ``` ''' \"\"\" <<< >>> [[[ ]]] {{{ }}}",
    "special tokens": "<|im_start|>user\nhi<|im_end|>\n<|endoftext|><repo_name>a/b<file_sep><|im_star t|> <reponame>",
    "one letter": "a",
    "one space": " ",
    "long word": "a" * 300 + "ab" * 100,
    "long run of spaces": "x" + " " * 200 + "y",
    "long text without spaces": "天地玄黃宇宙洪荒" * 40,
}
CHATS = ["Who was Isaac Newton?", "Zwei  Zeilen\nmit Umlauten: äöü", " "]
FORWARD_PROMPT = "In 1665 the plague closed the university, and Newton went home to think about 3 things:"
RANDOM_TEXTS = 60
BLOCK_TYPES = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0")
BLOCK_COLUMNS, BLOCK_ROWS = 96, 5
SEED = 20240229


def read_model(path):
    reader = gguf.GGUFReader(path)
    field = lambda key: reader.fields[key].contents()
    return reader, field


def build_tokenizer(field):
    tokens = field("tokenizer.ggml.tokens")
    kinds = field("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [tokenizers.AddedToken(t, normalized=False, special=True)
         for t, kind in zip(tokens, kinds) if kind == 3])
    return tokenizer


def random_texts():
    """Assigned characters of every category, in short words; planes for which SmolLM2 has no byte left out."""
    generator = random.Random(SEED)
    categories = {}
    for code in list(range(0x3000)) + list(range(0x3000, 0x20000, 7)):
        character = chr(code)
        category = unicodedata.category(character)
        if category not in ("Cn", "Cs", "Co") and code not in (4, 6, 0x13, 0x14, 0x16, 0x1d):
            categories.setdefault(category, []).append(character)
    names = sorted(categories)
    texts = []
    for _ in range(RANDOM_TEXTS):
        text = ""
        while len(text) < 40:
            pool = categories[generator.choice(names + ["Zs", "Nd", "Ll", "Ll", "Lu"])]
            text += "".join(generator.choice(pool) for _ in range(generator.randint(1, 4)))
            if generator.random() < 0.4:
                text += " " * generator.randint(1, 3)
        texts.append(text)
    return texts


def tokenizer_reference(field):
    tokenizer = build_tokenizer(field)
    texts = list(TEXTS.items()) + [(f"random {i}", t) for i, t in enumerate(random_texts())]
    cases = []
    for name, text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        cases.append({"name": name, "text": text, "ids": ids, "decoded": decoded})
    template = jinja2.Environment().from_string(field("tokenizer.chat_template"))
    chats = []
    for prompt in CHATS:
        text = template.render(messages=[{"role": "user", "content": prompt}], add_generation_prompt=True)
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        chats.append({"prompt": prompt, "text": text, "ids": ids})
    return {"cases": cases, "chats": chats}


def random_rows(kind, generator):
    """BLOCK_ROWS rows of stored bytes: any bits, but for what would make infinities or NaN."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = generator.integers(0, 256, (BLOCK_ROWS, BLOCK_COLUMNS // elements, size), dtype=np.uint8)
    # The upper bytes of halves (scale, minimum), bfloat16 and float32: an exponent below the largest.
    top_bytes = {"F32": [3], "F16": [1], "BF16": [1], "Q4_0": [1], "Q4_1": [1, 3], "Q8_0": [1]}[kind.name]
    blocks[:, :, top_bytes] &= 0xBB
    return blocks.reshape(BLOCK_ROWS, -1)


def bits_of(values):
    return np.ascontiguousarray(values, dtype=np.float32).reshape(-1).view(np.uint32)


def weighted_sum(values):
    """Sum of bits[i] * (2 i + 1) modulo 2^64: tells every changed bit and every two swapped values."""
    bits = bits_of(values).astype(np.uint64)
    return int(np.sum(bits * (2 * np.arange(bits.size, dtype=np.uint64) + 1), dtype=np.uint64))


def dequantize_reference(reader):
    generator = np.random.default_rng(SEED)
    blocks = []
    for name in BLOCK_TYPES:
        kind = gguf.GGMLQuantizationType[name]
        rows = random_rows(kind, generator)
        values = gguf.quants.dequantize(rows.view(np.float32) if name == "F32" else rows, kind)
        blocks.append({"name": name, "type": int(kind), "columns": BLOCK_COLUMNS, "rows": BLOCK_ROWS,
                       "bytes": rows.tobytes().hex(), "bits": [int(b) for b in bits_of(values)]})
    last = reader.fields["llama.block_count"].contents() - 1
    tensors = []
    for tensor in reader.tensors:
        if tensor.name.startswith("blk.") and not tensor.name.startswith(("blk.0.", f"blk.{last}.")):
            continue
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        tensors.append({"name": tensor.name, "columns": int(tensor.shape[0]), "rows": values.size // int(tensor.shape[0]),
                        "weighted_sum": str(weighted_sum(values)),
                        "first_bits": [int(b) for b in bits_of(values)[:4]]})
    return {"blocks": blocks, "tensors": tensors}


def round_to_bfloat16(values):
    bits = values.astype(np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


def forward(reader, field, ids, keep_kv):
    weights = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64).reshape(t.shape[::-1])
               for t in reader.tensors if t.name != "token_embd.weight"}
    embedding = next(t for t in reader.tensors if t.name == "token_embd.weight")
    embedding = gguf.quants.dequantize(embedding.data, embedding.tensor_type)
    layers, heads = field("llama.block_count"), field("llama.attention.head_count")
    kv_heads, base = field("llama.attention.head_count_kv"), field("llama.rope.freq_base")
    epsilon, hidden = field("llama.attention.layer_norm_rms_epsilon"), field("llama.embedding_length")
    size = hidden // heads
    count = len(ids)

    def norm(x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight

    angle = np.arange(count)[:, None] * float(base) ** (-np.arange(0, size, 2) / size)
    cosine, sine = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]

    def turn(x):
        even, odd = x[..., 0::2], x[..., 1::2]
        return np.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).reshape(x.shape)

    x = embedding[ids].astype(np.float64)
    mask = np.triu(np.full((count, count), -np.inf), 1)
    states = []
    for i in range(layers):
        w = lambda name: weights[f"blk.{i}.{name}.weight"]
        h = norm(x, w("attn_norm"))
        q = turn((h @ w("attn_q").T).reshape(count, heads, size))
        k = keep_kv(turn((h @ w("attn_k").T).reshape(count, kv_heads, size)))
        v = keep_kv((h @ w("attn_v").T).reshape(count, kv_heads, size))
        k, v = np.repeat(k, heads // kv_heads, 1), np.repeat(v, heads // kv_heads, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(size) + mask
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khd->qhd", scores, v).reshape(count, hidden) @ w("attn_output").T
        h = norm(x, w("ffn_norm"))
        gate = h @ w("ffn_gate").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w("ffn_up").T)) @ w("ffn_down").T
        states.append(x)
    logits = embedding.astype(np.float64) @ norm(x[-1], weights["output_norm.weight"])
    return states, logits


def forward_reference(reader, field):
    ids = build_tokenizer(field).encode(FORWARD_PROMPT, add_special_tokens=False).ids
    result = {"prompt": FORWARD_PROMPT, "ids": ids}
    for name, keep_kv in (("f32", lambda x: x), ("bf16", round_to_bfloat16)):
        states, logits = forward(reader, field, ids, keep_kv)
        top = np.argsort(-logits, kind="stable")[:20]
        result[name] = {
            # Of the prompt's last token, which the engine decodes.
            "last_token_first_values": [[float(f"{v:.7g}") for v in s[-1, :8]] for s in states],
            # Of every token, layer by layer.
            "norms": [[float(f"{v:.7g}") for v in np.linalg.norm(s, axis=-1)] for s in states],
            "top_tokens": [int(t) for t in top],
            "top_logits": [float(f"{logits[t]:.7g}") for t in top],
            "logits_norm": float(f"{np.linalg.norm(logits):.7g}"),
        }
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    reader, field = read_model(options.model)
    failed = False
    for name, value in (("tokenizer.json", tokenizer_reference(field)),
                        ("dequantize.json", dequantize_reference(reader)),
                        ("forward.json", forward_reference(reader, field))):
        path = FOLDER / name
        text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace('],"', '],\n"') + "\n"
        if options.write:
            path.write_text(text)
            print(f"{path}: written, {len(text)} bytes")
        elif path.is_file() and path.read_text() == text:
            print(f"{path}: as computed")
        else:
            print(f"{path}: differs from what is computed", file=sys.stderr)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
