import json

import pytest

from echo_dagster.optimization import deepspeed_config
from echo_dagster.resources import resource
from echo_dagster.settings import Training

TRAINING = Training(batch_size=8, ranks=3, learning_rate=2e-4, weight_decay=0.1, max_grad_norm=0.5)


@pytest.mark.parametrize("stage", range(4))
def test_a_shipped_file_differs_in_its_stage_alone_and_takes_the_rest_from_the_settings(stage):
    config = deepspeed_config.read(resource("configs", "deepspeed", f"zero{stage}.json"), TRAINING)
    assert config["zero_optimization"]["stage"] == stage
    assert config["train_micro_batch_size_per_gpu"] == 3 and config["gradient_accumulation_steps"] == 1
    assert config["gradient_clipping"] == 0.5
    assert (
        config["optimizer"]["params"] | {"lr": 2e-4, "weight_decay": 0.1, "torch_adam": True}
        == config["optimizer"]["params"]
    )
    assert '"auto"' not in json.dumps(config)


def test_values_that_the_settings_own_are_refused_all_at_once():
    config = {
        "optimizer": {"params": {"lr": 1e-3}},
        "gradient_clipping": 1,
        "train_batch_size": 4,
        "scheduler": {},
    }
    with pytest.raises(ValueError) as refused:
        deepspeed_config.complete(config, TRAINING)
    for told in (
        "training.learning_rate",
        "training.max_grad_norm",
        "training.batch_size",
        "training.warmup_share",
    ):
        assert told in str(refused.value)
    assert config["optimizer"]["params"]["lr"] == 1e-3  # what was given is left as it is


def test_a_file_that_is_no_json_object_is_named(tmp_path):
    for text in ("{", "[]"):
        (tmp_path / "zero.json").write_text(text)
        with pytest.raises(ValueError, match=r"zero\.json"):
            deepspeed_config.read(tmp_path / "zero.json", TRAINING)
