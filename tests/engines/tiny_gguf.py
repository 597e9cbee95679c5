"""Makes a Llama of two layers with random weights for llama.cpp, and a tokenizer for it: nothing is downloaded.

    python tiny_gguf.py FILE [--without-space]

Runs in the engine's environment, which has gguf and numpy and not apxm. A token is a byte. What the model says is
noise, but noise that ends: what closes a text, a list, an object and an answer is likelier than all else, as texts
would go on for ever. Without a token for the space llama.cpp can make no grammar begin, and so refuses each schema.
"""

from __future__ import annotations

import sys

import gguf
import numpy as np

SIZE, FEED_FORWARD, LAYERS, HEADS, CONTEXT = 64, 128, 2, 4, 8192
SPECIAL = ["<unk>", "<s>", "</s>"]
SPACE = "▁"
"""How the tokenizer writes a space."""
BIAS = {2: 4.0} | {
    3 + ord(letter): logit for letter, logit in {'"': 5.0, "]": 3.0, "}": 3.0, "e": -9.0, "E": -9.0}.items()
}
"""Logits that are added: to those of the token that ends an answer, of what ends a part of JSON, and of exponents, as
noise would say numbers that no float holds."""
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def write(path: str, *, has_space: bool) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(SIZE)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(SIZE // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *([SPACE] if has_space else [])]
    _add_tokenizer(writer, tokens)
    _add_weights(writer, len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokens: list[str]) -> None:
    kinds = gguf.TokenType
    special = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([*special, *[kinds.NORMAL] * (len(tokens) - len(special))])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def _add_weights(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    random = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return random.normal(0, 0.02, shape).astype(np.float32)

    embedding = drawn(vocabulary, SIZE)
    embedding[:, 0] = 1.0  # the same for all tokens, so that a weight of the output on it is a bias
    output = drawn(vocabulary, SIZE)
    output[:, 0] = 0
    for token, logit in BIAS.items():
        output[token, 0] = logit / SIZE**0.5
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(SIZE, np.float32))
    for layer in range(LAYERS):
        name = f"blk.{layer}"
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{name}.{norm}.weight", np.ones(SIZE, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{name}.{part}.weight", drawn(SIZE, SIZE))
        writer.add_tensor(f"{name}.ffn_gate.weight", drawn(FEED_FORWARD, SIZE))
        writer.add_tensor(f"{name}.ffn_up.weight", drawn(FEED_FORWARD, SIZE))
        writer.add_tensor(f"{name}.ffn_down.weight", drawn(SIZE, FEED_FORWARD))


if __name__ == "__main__":
    write(sys.argv[1], has_space="--without-space" not in sys.argv)
