"""Writes a language model that was never trained: random weights, and a few words for a vocabulary."""
import sys
import numpy as np
import gguf
out, layers, width = sys.argv[1], 2, 128
heads, ff = width // 64, width * 3
rng = np.random.default_rng(1)
words = [w for w in "one two three river stone water light wind tree cloud road field house sea hill".split()]
tokens = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{b:02X}>".encode() for b in range(256)] + ["\u2581".encode()] + [("\u2581" + w).encode() for w in words]
types = [2, 3, 3] + [6] * 256 + [1] * (1 + len(words))
scores = [0.0] * 259 + [-float(i) for i in range(1 + len(words))]
w = gguf.GGUFWriter(out, "llama")
w.add_context_length(4096); w.add_embedding_length(width); w.add_block_count(layers); w.add_feed_forward_length(ff)
w.add_head_count(heads); w.add_head_count_kv(heads); w.add_layer_norm_rms_eps(1e-5); w.add_rope_dimension_count(64); w.add_vocab_size(len(tokens))
w.add_tokenizer_model("llama"); w.add_token_list(tokens); w.add_token_scores(scores); w.add_token_types(types)
w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_unk_token_id(0); w.add_add_space_prefix(False)
w.add_chat_template("{% for m in messages %}{{ m['content'] }} {% endfor %}")
r = lambda *s: (rng.standard_normal(s) / np.sqrt(s[-1])).astype(np.float32)
# The first dimension is large for every token; by it the head keeps all but the words low.
embedding = rng.standard_normal((len(tokens), width)).astype(np.float32)
embedding[:, 0] = 8
w.add_tensor("token_embd.weight", embedding)
head = r(len(tokens), width) * 2
head[:260, 0] -= 8
w.add_tensor("output.weight", head); w.add_tensor("output_norm.weight", np.ones(width, np.float32))
for i in range(layers):
    for n, s in [("attn_q", (width, width)), ("attn_k", (width, width)), ("attn_v", (width, width)), ("attn_output", (width, width)), ("ffn_gate", (ff, width)), ("ffn_up", (ff, width)), ("ffn_down", (width, ff))]:
        w.add_tensor(f"blk.{i}.{n}.weight", r(*s))
    for n in ("attn_norm", "ffn_norm"):
        w.add_tensor(f"blk.{i}.{n}.weight", np.ones(width, np.float32))
w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
