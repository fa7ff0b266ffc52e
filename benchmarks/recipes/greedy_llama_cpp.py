"""Greedy completions by llama.cpp: `python greedy_llama_cpp.py MODEL.gguf N_TOKENS`, a JSON list of prompts on stdin.

Prints a JSON list of {"prompt_ids", "ids", "text"}. Runs in an environment that knows nothing of the project.
"""

import json
import sys
import time

from llama_cpp import Llama, llama_vocab_is_eog

model = Llama(sys.argv[1], n_ctx=2048, verbose=False)
vocabulary = model._model.vocab
made = []
began = time.perf_counter()
for prompt in json.load(sys.stdin):
    prompt_ids = model.tokenize(
        prompt.encode(), add_bos=True, special=True
    )  # a start token only if the file says so
    ids = []
    model.reset()
    for token_id in model.generate(prompt_ids, temp=0.0, repeat_penalty=1.0):
        if llama_vocab_is_eog(vocabulary, token_id):
            break
        ids.append(token_id)
        if len(ids) == int(sys.argv[2]):
            break
    text = model.detokenize(ids, prev_tokens=prompt_ids).decode("utf-8", errors="replace")
    made.append({"prompt_ids": prompt_ids, "ids": ids, "text": text})
print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
json.dump(made, sys.stdout)
