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


@pytest.mark.parametrize("name", ["zero2_offload", "zero3_offload"])
def test_the_shipped_files_of_offload_are_taken(name):
    config = deepspeed_config.read(resource("configs", "deepspeed", f"{name}.json"), TRAINING)
    assert config["zero_optimization"]["offload_optimizer"] == {"device": "cpu", "pin_memory": True}


def test_what_deepspeed_would_pass_over_is_refused_all_at_once():
    config = {
        "zero_optimization": {
            "stag": 2,
            "stage": 2,
            "offload_optimizer": {"device": "nvme"},
            "offload_param": {"device": "gpu", "pin": 1},
            "overlap_comm": "yes",
        },
        "optimizer": {"type": "Adam", "params": {"beta": 1}},
        "torch_autocast": {"enabled": True, "dtype": "float8"},
        "activation_checkpointing": {},
        "bf16": {"enabled": True},
        "aio": {"thread_count": 1},
        "zero_optimisation": {},
    }
    with pytest.raises(ValueError) as refused:
        deepspeed_config.complete(config, TRAINING)
    for told in (
        "zero_optimization.stag: training knows no such name",
        "zero_optimization.offload_optimizer.device: input should be 'none' or 'cpu' (got \"nvme\")",
        "zero_optimization.offload_param.device",
        "zero_optimization.offload_param.pin: training knows no such name",
        "zero_optimization.overlap_comm: input should be a valid boolean",
        "optimizer.type: input should be 'AdamW'",
        "optimizer.params.beta: training knows no such name",
        "torch_autocast.dtype",
        "activation_checkpointing: remove it; see the setting training.recompute_activations",
        "bf16: remove it",
        "aio: remove it",
        "zero_optimisation: training knows no such name",
    ):
        assert told in str(refused.value), told
    with pytest.raises(ValueError, match=r"zero_optimization: missing; add it"):
        deepspeed_config.complete({"optimizer": {"type": "AdamW"}}, TRAINING)


def test_parameters_are_offloaded_under_stage_3_alone():
    offload = {"offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}}
    config = {"optimizer": {"type": "AdamW"}, "zero_optimization": {"stage": 0, **offload}}
    with pytest.raises(ValueError) as refused:
        deepspeed_config.complete(config, TRAINING)
    assert "zero_optimization.offload_param: expected stage 3 or more (got stage 0)" in str(refused.value)
    assert "zero_optimization.offload_optimizer: expected stage 1 or more" in str(refused.value)


def test_deepspeed_knows_every_name_that_is_taken_and_has_the_same_defaults():
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    theirs = {field.alias or name: field for name, field in DeepSpeedZeroConfig.model_fields.items()}
    for name, field in deepspeed_config.Zero.model_fields.items():
        assert name in theirs
        assert name == "stage" or field.default == theirs[name].default, name


def test_a_file_that_is_no_json_object_is_named(tmp_path):
    for text in ("{", "[]"):
        (tmp_path / "zero.json").write_text(text)
        with pytest.raises(ValueError, match=r"zero\.json"):
            deepspeed_config.read(tmp_path / "zero.json", TRAINING)
