"""Weights that transformers serve can load, made from a GGUF file: dense.py FOLDER FILE INTO."""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

folder, file, into = sys.argv[1:]
AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(into)
config = GgufConfig(dequantize=True)
AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, quantization_config=config, dtype=torch.float32).save_pretrained(into)
