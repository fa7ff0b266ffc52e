"""Samples that share a row learn as if each were alone."""

import random
from array import array
from dataclasses import replace

import pytest
import torch  # noqa: TID253 - what is tested begins with torch
from torch.nn import functional  # noqa: TID253 - likewise
from transformers import AutoModelForCausalLM  # noqa: TID253 - likewise

from echo_dagster.optimization import train_pack
from echo_dagster.optimization.train_pack import ATTENTION, Sample, nats, pack

random_ = random.Random(17)


def sample(n_prompt: int, n_target: int) -> Sample:
    return Sample(array("i", (random_.randrange(4, 300) for _ in range(n_prompt + n_target))), n_target)


#: 64 samples of 2 to 380 tokens.
UNEVEN = [sample(1, 1), sample(340, 40)] + [
    sample(random_.randint(1, 200), random_.randint(1, 50)) for _ in range(62)
]


@pytest.fixture(scope="module")
def packing(tiny_model_dir):
    """The tiny model, with attention for packed rows."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32)
    model.set_attn_implementation(ATTENTION)
    return model


@pytest.fixture(scope="module")
def plain(tiny_model_dir):
    """The tiny model as transformers has it."""
    return AutoModelForCausalLM.from_pretrained(
        tiny_model_dir, dtype=torch.float32, attn_implementation="eager"
    )


def padded_nats(model, samples, weighting="token"):
    """The loss as one writes it without packing: padded on the right, logits everywhere."""
    longest = max(len(some.ids) for some in samples)
    ids = torch.tensor([[*some.ids, *[0] * (longest - len(some.ids))] for some in samples])
    mask = torch.tensor([[1] * len(some.ids) + [0] * (longest - len(some.ids)) for some in samples])
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    total = torch.zeros(())
    for row, some in enumerate(samples):
        predicted = slice(len(some.ids) - some.n_target - 1, len(some.ids) - 1)
        told = functional.cross_entropy(
            logits[row, predicted], torch.tensor(some.ids[-some.n_target :]), reduction="sum"
        )
        total = total + (told if weighting == "token" else told / some.n_target)
    return total


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("weighting", ["token", "sample"])
def test_packed_and_padded_losses_and_gradients_agree(packing, plain, weighting):
    divisor = sum(some.n_target for some in UNEVEN) if weighting == "token" else len(UNEVEN)
    packed = nats(packing, pack(UNEVEN, weighting, "cpu")) / divisor
    padded = padded_nats(plain, UNEVEN, weighting) / divisor
    assert packed.item() == pytest.approx(padded.item(), abs=1e-5)
    ours, theirs = gradients(packing, packed), gradients(plain, padded)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-5, rtol=0)
        assert (ours[name] - gradient).norm() < 1e-5 * gradient.norm()


def test_samples_do_not_see_each_other(packing):
    some = UNEVEN[2:10]

    def each(samples):
        packed = pack(samples, "token", "cpu")
        with torch.no_grad():
            logits = packing(**packed.inputs, use_cache=False).logits[0]
        losses = functional.cross_entropy(logits, packed.labels, reduction="none")
        return losses.split([one.n_target for one in samples])

    before = each(some)
    ids = some[3].ids
    changed = replace(some[3], ids=array("i", ((token + 7) % 300 for token in ids)))
    after = each([*some[:3], changed, *some[4:]])
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        assert torch.equal(old, new) == (place != 3)


def test_a_sample_counts_the_same_wherever_it_stands(packing):
    some = UNEVEN[2:8]
    with torch.no_grad():
        together = float(nats(packing, pack(some, "token", "cpu")))
        apart = sum(float(nats(packing, pack([one], "token", "cpu"))) for one in some)
        turned = float(nats(packing, pack(some[::-1], "token", "cpu")))
    assert together == pytest.approx(apart, abs=1e-3) == turned


def test_a_row_holds_samples_end_to_end_and_nothing_else():
    first, second = Sample(array("i", [5, 6, 7, 8]), 2), Sample(array("i", [9, 10, 11]), 1)
    packed = pack([first, second], "sample", "cpu")
    assert packed.inputs["input_ids"].tolist() == [[5, 6, 7, 9, 10]]  # the last token is only predicted
    assert packed.inputs["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert packed.inputs["cu_seq_lens_q"].tolist() == [0, 3, 5]
    assert packed.inputs["logits_to_keep"].tolist() == [1, 2, 4]
    assert packed.labels.tolist() == [7, 8, 11] and packed.weights.tolist() == [0.5, 0.5, 1.0]
    assert pack([first, second], "token", "cpu").weights.tolist() == [1.0, 1.0, 1.0]


def test_a_model_that_does_not_hand_on_the_bounds_fails(packing):
    packed = pack(UNEVEN[2:4], "token", "cpu")
    inputs = {name: value for name, value in packed.inputs.items() if not name.startswith("cu_")}
    with pytest.raises(TypeError, match="cu_seq_lens_q"):
        packing(**inputs, use_cache=False)


def test_a_window_that_slides_is_kept(tmp_path):
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(17)
    config = MistralConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=16,
    )
    model = MistralForCausalLM(config)
    model.set_attn_implementation("eager")
    some = [sample(60, 10), sample(5, 4), sample(13, 4)]  # longer than the window, shorter, just over it
    padded = padded_nats(model, some).item()
    model.set_attn_implementation(ATTENTION)
    assert nats(model, pack(some, "token", "cpu")).item() == pytest.approx(padded, abs=1e-3)
    model.config.sliding_window = None
    for module in model.modules():
        if hasattr(module, "sliding_window"):
            module.sliding_window = None
    assert nats(model, pack(some, "token", "cpu")).item() != pytest.approx(padded, abs=1e-3)


def test_a_gpu_in_half_precision_takes_one_kernel_for_the_row():
    """Shapes and types alone: no GPU is needed to see that torch's kernel is called as it wants to be."""
    query = torch.empty(
        1, 4, 30, 16, device="meta", dtype=torch.float32
    )  # positions came in fp32 under autocast
    key = torch.empty(1, 2, 30, 16, device="meta", dtype=torch.float32)
    value = torch.empty(1, 2, 30, 16, device="meta", dtype=torch.bfloat16)
    bounds = torch.empty(4, device="meta", dtype=torch.int32)
    attended = train_pack.in_one_kernel(query, key, value, bounds, 20, None, 8)
    assert attended.shape == (1, 30, 4, 16) and attended.dtype == torch.bfloat16
