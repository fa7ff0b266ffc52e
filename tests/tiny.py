"""A tiny model and tokenizer, built in a second: real in every part, too small to know anything.

Two Llama layers of width 64 with random weights from a fixed seed, and a byte-level BPE trained on the lines
below.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from echo_dagster.fim import Encoded
from echo_dagster.settings import FimTokens, ModelSettings, ModelSource

if TYPE_CHECKING:
    from transformers import PreTrainedModel

END, PREFIX, SUFFIX, MIDDLE = "<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"
FIM = FimTokens(layout="spm", prefix=PREFIX, suffix=SUFFIX, middle=MIDDLE, end=END)
MAX_TOKENS = 512

_LINES = (
    "def total(prices, tax=0.2):",
    "    return sum(price * (1 + tax) for price in prices)",
    "class Order:",
    "    def __init__(self, lines: list[str]) -> None:",
    "        self.lines = lines",
    "        for index, line in enumerate(self.lines):",
    "            if line.startswith('#') and index > 0:",
    "                raise ValueError(f'line {index} is a comment')",
    "const total = (prices) => prices.reduce((sum, price) => sum + price, 0);",
    "export function order(lines) { return lines.map((line) => line.trim()); }",
)

#: Gaps of code like the lines above: prefix, suffix, middle.
GAPS = [
    ("def total(prices):\n    ret", "\n", "urn sum(prices)"),
    ("class Order:\n", None, "    pass"),
    ("const total = pri", ";\nexport function order(lines) { return lines; }", "ces.length"),
    ("", "", "x"),
    ("for index, line in enumerate(self.lines):\n            if line.st", ":\n", "artswith('#')"),
]


def tiny_model(path: Path) -> ModelSettings:
    """Build the tiny model in `path` and return the settings that name it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=[END, PREFIX, SUFFIX, MIDDLE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["\n".join(_LINES)] * 4, trainer)
    path.mkdir(parents=True, exist_ok=True)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END).save_pretrained(path)
    end_id = tokenizer.token_to_id(END)
    with torch.random.fork_rng():
        torch.manual_seed(17)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=tokenizer.get_vocab_size(),
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=MAX_TOKENS,
                tie_word_embeddings=True,
                bos_token_id=end_id,
                eos_token_id=end_id,
                pad_token_id=end_id,
            )
        )
    model.save_pretrained(path)
    return ModelSettings(name="tiny", source=ModelSource(path=str(path)), fim=FIM, max_tokens=MAX_TOKENS)


def reference_nats(model: PreTrainedModel, sample: Encoded) -> float:
    """Return the loss that transformers itself computes over a target without its end, in nats per token."""
    import torch

    target = sample.target_ids[:-1]
    ids = torch.tensor([sample.prompt_ids + target])
    labels = torch.tensor([[-100] * len(sample.prompt_ids) + target])
    with torch.inference_mode():
        return float(model(input_ids=ids, labels=labels).loss)
