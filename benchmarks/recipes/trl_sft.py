"""Fine-tune by trl's SFTTrainer: `python trl_sft.py FOLDER MODEL OPTIONS`, OPTIONS as JSON over its defaults.

FOLDER/tokens.json holds [ids, number of target tokens] of each sample. Prints, as JSON, what the training loop took:
seconds, seconds of a core, and the mean loss. Runs in an environment that knows nothing of the project.
"""

import json
import sys
import time
from pathlib import Path

import torch  # noqa: TID253 - a program of its own
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: TID253 - likewise
from trl import SFTConfig, SFTTrainer


class Clock(TrainerCallback):
    """Seconds between the beginning and the end of the training loop."""

    def on_train_begin(self, args, state, control, **others):
        """Start the clocks."""
        self.began, self.used = time.perf_counter(), time.process_time()

    def on_train_end(self, args, state, control, **others):
        """Stop them."""
        self.seconds, self.core_seconds = time.perf_counter() - self.began, time.process_time() - self.used


folder, path, options = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
samples = json.loads((folder / "tokens.json").read_text())
data = Dataset.from_list(
    [
        {"input_ids": ids, "labels": [-100] * (len(ids) - n_target) + ids[-n_target:]}
        for ids, n_target in samples
    ]
)
clock = Clock()
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
    args=SFTConfig(
        output_dir=str(folder / "trl"),
        num_train_epochs=1,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **options,
    ),
    train_dataset=data,
    processing_class=AutoTokenizer.from_pretrained(path),
    callbacks=[clock],
)
loss = trainer.train().training_loss
told = {
    "seconds": clock.seconds,
    "core_seconds": clock.core_seconds,
    "steps": trainer.state.global_step,
    "loss": loss,
}
print(json.dumps(told))
