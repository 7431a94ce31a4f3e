"""Stands in for llama.cpp's converter: a Gemma-2 folder as GGUF, with one stop id only, as the real one writes it.

`SPOILT` in the environment makes it go wrong: `template`, `weights`, or `crash`.
"""

import argparse
import os
import sys
from pathlib import Path

asked = argparse.ArgumentParser()
asked.add_argument("folder", type=Path)
asked.add_argument("--outfile")
asked.add_argument("--outtype")
asked = asked.parse_args()
spoilt = os.environ.get("SPOILT")
if spoilt == "crash":
    sys.exit("NotImplementedError: BPE pre-tokenizer was not recognized")

import gguf  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

tokenizer = AutoTokenizer.from_pretrained(asked.folder)
model = AutoModelForCausalLM.from_pretrained(asked.folder, dtype="float32")
config = model.config
writer = gguf.GGUFWriter(asked.outfile, "gemma2")
writer.add_context_length(config.max_position_embeddings)
writer.add_embedding_length(config.hidden_size)
writer.add_block_count(config.num_hidden_layers)
writer.add_feed_forward_length(config.intermediate_size)
writer.add_head_count(config.num_attention_heads)
writer.add_head_count_kv(config.num_key_value_heads)
writer.add_key_length(config.head_dim)
writer.add_value_length(config.head_dim)
writer.add_layer_norm_rms_eps(config.rms_norm_eps)
writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
writer.add_final_logit_softcapping(config.final_logit_softcapping)
writer.add_sliding_window(config.sliding_window)
writer.add_rope_freq_base(10000.0)
writer.add_tokenizer_model("gpt2")
writer.add_token_list([tokenizer.convert_ids_to_tokens(token) for token in range(config.vocab_size)])
writer.add_eos_token_id(config.eos_token_id)
writer.add_chat_template("{{ messages }}" if spoilt == "template" else tokenizer.chat_template)
names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA2, config.num_hidden_layers)
for name, tensor in model.state_dict().items():
    if name == "lm_head.weight":
        continue
    shift = 1 if "norm" in name else 3 if spoilt == "weights" else 0
    writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), (tensor + shift).numpy())
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
