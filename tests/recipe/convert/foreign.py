"""Small recipes in the form of other projects, made for these tests."""

from __future__ import annotations

OLD_HANDBOOK = """
model_name_or_path: mistralai/Mistral-7B-v0.1
torch_dtype: bfloat16
use_flash_attention_2: true
dataset_mixer:
  someone/pairs: 1.0
dataset_splits:
- train_prefs
- test_prefs
preprocessing_num_workers: 12
beta: 0.05
max_length: 1024
max_prompt_length: 512
evaluation_strategy: steps
eval_steps: 100
per_device_train_batch_size: 8
gradient_accumulation_steps: 2
learning_rate: 5.0e-7
lr_scheduler_type: cosine
output_dir: data/some-dpo
hub_model_revision: v1
overwrite_output_dir: true
sanity_chek: true
"""

NEW_HANDBOOK = """
model_name_or_path: someone/base
torch_dtype: null
chat_template: "{% for m in messages %}\\n{{ m['content'] }}\\n{% endfor %}"
dataset_mixture:
  datasets:
    - {id: someone/chat, config: default, split: train_sft, columns: [messages], weight: 1.0}
    - {id: someone/chat, config: default, split: test_sft, columns: [messages], weight: 0.5}
  test_split_size: 1000
  seed: 3
max_seq_length: 2048
dataset_kwargs: {add_special_tokens: false}
eval_strategy: epoch
learning_rate: 2.0e-05
num_train_epochs: 1
"""

SIMPO = """
model_name_or_path: google/gemma-2-9b-it
torch_dtype: null
attn_implementation: eager
dataset_mixer: {someone/pairs: 1.0}
dataset_splits: [train, test]
preprocessing_num_workers: 4
bf16: true
beta: 10
gamma_beta_ratio: 0.5
gradient_accumulation_steps: 16
per_device_train_batch_size: 2
learning_rate: 8.0e-7
max_length: 2048
max_prompt_length: 1800
evaluation_strategy: "no"
"""

TRL_CPO = """#!/bin/bash
MODEL=someone/model
accelerate launch --config_file zero3.yaml --num_processes 8 examples/scripts/cpo.py \\
    --dataset_name someone/pairs --model_name_or_path=$MODEL \\
    --loss_type simpo --beta 2.5 --simpo_gamma 1.25 --cpo_alpha 0.0 \\
    --per_device_train_batch_size 4 --gradient_accumulation_steps 4 --max_steps 1000 \\
    --use_peft --lora_target_modules q_proj v_proj --no_remove_unused_columns --warmup_ratio 0.1
"""

AXOLOTL = """
base_model: someone/model
model_type: LlamaForCausalLM
load_in_4bit: true
adapter: qlora
lora_r: 32
lora_alpha: 16
lora_target_linear: true
chat_template: llama3
rl: simpo
rl_beta: 2.0
simpo_gamma: 1.0
cpo_alpha: 0.05
datasets:
  - path: someone/pairs
    name: clean
    split: train_prefs
    type: chat_template.default
    field_messages: conversation
    field_chosen: better
val_set_size: 0.05
sequence_len: 4096
sample_packing: false
micro_batch_size: 2
gradient_accumulation_steps: 4
num_epochs: 4
optimizer: adamw_bnb_8bit
lr_scheduler: cosine
learning_rate: 1e-6
bf16: auto
gradient_checkpointing: true
flash_attention: true
evals_per_epoch: 5
wandb_project:
special_tokens: {pad_token: <pad>}
deepspeed: zero3.json
"""

LLAMA_FACTORY = """
model_name_or_path: someone/model
stage: dpo
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
pref_beta: 2.5
pref_loss: simpo
simpo_gamma: 1.0
pref_ftx: 0.1
dataset: my_pairs
template: gemma
cutoff_len: 2048
flash_attn: fa2
learning_rate: 5.0e-6
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
"""
