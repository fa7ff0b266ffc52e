"""Planted noise: what the denoiser finds of it, what it takes along, and what a model learns from what is left.

Of every ten samples one gets the C_N of another gap of its language and length. That is done ten times over, so that
each sample is noise once and clean nine times; the denoiser sees one such mix at a time and does not know which is
which. The mixes are scored once: a sample's likelihoods with its own C_N and with the other's do not hang on the rest.

Then three models are trained on as many samples each, in as many steps: on clean samples, on a mix, and on what the
denoiser leaves of that mix. They are compared on gaps of developers who are in none of the three.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.table import Table

from benchmarks import simulated
from echo_dagster import fim, likelihood, models
from echo_dagster.evaluation import bootstrap
from echo_dagster.experiments.training import train
from echo_dagster.optimization import job
from echo_dagster.refinery import denoise, perplexity, strata
from echo_dagster.settings import Perplexity, Settings

MIXES = 10
#: The demo's sizes, which two CPU cores score and train in minutes.
SIZES = {
    "truncation": {"prefix_tokens": 128, "suffix_tokens": 32, "middle_tokens": 48},
    "training": {"last_layers": 8, "learning_rate": 1e-4},
}
_HELD_OUT_USERS = 3
_NATS, _ALONE = "middle_nats_per_token", "middle_alone_nats_per_token"
#: What could tell noise, as a function of nats per token in context and without. More of it is noise.
SIGNALS = {
    "nats in context": pl.col(_NATS),
    "IFD": pl.col("ifd"),
    "nats in context - alone": pl.col(_NATS) - pl.col(_ALONE),
    "nats alone": pl.col(_ALONE),
}
#: The settings that are tried, beside the defaults.
TRIED = (
    {},
    {"high_quantile": 0.9},
    {"max_ifd": 0.8},
    {"max_ifd": 0.8, "high_quantile": 0.95},
    {"high_quantile": 1.0},
    {"max_ifd": 1e9},
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The same samples with their own C_N and with another's, scored by one scorer, row by row."""

    scorer: str
    clean: pl.DataFrame
    noise: pl.DataFrame

    def mix(self, number: int) -> tuple[pl.DataFrame, pl.Series]:
        """Return a mix, and which of its samples are noise."""
        lots = np.random.default_rng(17).permutation(self.clean.height) % MIXES
        is_noise = pl.Series("is_noise", lots == number)
        picked = pl.concat([self.clean.filter(~is_noise), self.noise.filter(is_noise)])
        mixed = picked.sort("sample_id")
        return mixed, mixed["sample_id"].is_in(self.noise.filter(is_noise)["sample_id"].implode())


def planted(samples: pl.DataFrame, seed: int = 17) -> pl.DataFrame:
    """Return the samples, each with the C_N of another gap of its language and length that wrote something else."""
    choose = random.Random(seed)
    texts, tokens = samples["middle"].to_list(), samples["middle_tokens"].to_list()
    buckets = samples.select(strata.scored_stratum()).to_series().to_list()
    alike = defaultdict(list)
    for place, bucket in enumerate(buckets):
        alike[bucket].append(place)
    donors = [
        choose.choice([other for other in alike[bucket] if texts[other] != texts[place]])
        for place, bucket in enumerate(buckets)
    ]
    return samples.with_columns(
        middle=pl.Series([texts[donor] for donor in donors]),
        middle_tokens=pl.Series([tokens[donor] for donor in donors]),
    )


def score(samples: pl.DataFrame, asked: Settings, scorer: str) -> Scored:
    """Score samples with their own C_N and with another's.

    The two are scored together, so that they share the reading of their context; a model finds each as likely as it
    would alone.
    """
    base = models.resolve(asked.base_model, asked.data_dir)
    settings = asked.perplexity.model_copy(update={"scorer": scorer})

    def scored(frame: pl.DataFrame) -> pl.DataFrame:
        return perplexity.score(frame, base.path, asked.base_model.fim, settings, scorer=base.digest)

    noise = planted(samples)
    if scorer == "token_prior":  # whose prior is the contexts', hence the same for both
        return Scored(scorer, scored(samples), scored(noise))
    both = scored(pl.concat([samples.with_columns(proposal=None), noise.with_columns(proposal=None)]))
    return Scored(scorer, both.head(samples.height), both.tail(samples.height))


def found(scored: Scored, settings: Perplexity) -> Iterator[tuple[float, float]]:
    """Yield, for every mix, the shares of noise and of clean samples that the denoiser drops."""
    for number in range(MIXES):
        mixed, is_noise = scored.mix(number)
        is_dropped = denoise.decide(mixed, settings)["reason"].is_not_null()
        yield float(is_dropped.filter(is_noise).mean()), float(is_dropped.filter(~is_noise).mean())


def area(scored: Scored, signal: pl.Expr) -> float:
    """Return how often noise has more of a signal than a clean sample: the area under the ROC curve."""
    values = pl.concat([frame.select(value=signal) for frame in (scored.clean, scored.noise)])
    ranks = values["value"].rank("average").tail(scored.noise.height)
    n = scored.noise.height
    return float((ranks.sum() - n * (n + 1) / 2) / (n * scored.clean.height))


def rank_correlation(left: Scored, right: Scored, signal: pl.Expr) -> float:
    """Return Spearman's correlation of a signal between two scorers, over clean samples."""
    columns = {"left": left.clean.select(signal).to_series(), "right": right.clean.select(signal).to_series()}
    return float(pl.DataFrame(columns).select(pl.corr("left", "right", method="spearman")).item())


def tables(by_scorer: Mapping[str, Scored], defaults: Perplexity) -> Iterator[Table]:
    """Yield what the denoiser finds by each scorer, and how well each signal tells noise."""
    shown = Table(title=f"planted noise: means of {MIXES} mixes (least - most)")
    for heading in ("scorer", "settings", "noise dropped", "clean dropped"):
        shown.add_column(heading)
    for scored in by_scorer.values():
        for changed in TRIED:
            shares = list(zip(*found(scored, defaults.model_copy(update=changed)), strict=True))
            told = [f"{np.mean(some):.1%} ({min(some):.1%} - {max(some):.1%})" for some in shares]
            shown.add_row(scored.scorer, str(changed or "default"), *told)
    yield shown
    shown = Table(title="signals: area under the ROC curve; the two scorers' rank correlation")
    for heading in ("signal", *by_scorer, "Spearman"):
        shown.add_column(heading)
    model, prior = by_scorer["model"], by_scorer["token_prior"]
    for name, signal in SIGNALS.items():
        areas = (f"{area(scored, signal):.3f}" for scored in by_scorer.values())
        shown.add_row(name, *areas, f"{rank_correlation(model, prior, signal):.2f}")
    yield shown


@dataclass(frozen=True)
class Learnt:
    """What models find of held-out gaps, in nats per token, gap by gap."""

    n_trained: int
    regions: Sequence[str]
    nats: dict[str, Floats]

    def table(self) -> Table:
        """Return means, and differences to the model that learnt from clean samples, with their intervals."""
        shown = Table(
            title=f"{len(self.regions)} held-out gaps, models trained on {self.n_trained} samples each"
        )
        for heading in ("trained on", "nats per token", "less the clean one's", "95 % interval"):
            shown.add_column(heading)
        for name, values in self.nats.items():
            told = bootstrap.paired_difference(values, self.nats["clean"], self.regions)
            interval = f"{told.low:+.3f} to {told.high:+.3f}"
            shown.add_row(name, f"{values.mean():.3f}", f"{told.value:+.3f}", interval)
        return shown


def learn(samples: pl.DataFrame, scored: Scored, asked: Settings, folder: Path, seed: int = 17) -> Learnt:
    """Train on clean samples, on a mix and on what the denoiser leaves of it, and compare on held-out developers."""
    is_out = pl.col("user_id").is_in(sorted(samples["user_id"].unique())[-_HELD_OUT_USERS:])
    mixed, _ = scored.mix(0)
    kept = denoise.decide(mixed, asked.perplexity)["reason"].is_null()
    sets = {
        "clean": scored.clean.filter(~is_out),
        "with noise": mixed.filter(~is_out),
        "denoised": mixed.filter(kept).filter(~is_out),
    }
    n = min(frame.height for frame in sets.values())
    held_out = scored.clean.filter(is_out)
    base = models.resolve(asked.base_model, asked.data_dir)
    nats = {"(base)": _nats(base.path, held_out, asked)}
    for name, frame in sets.items():
        drawn = frame.sample(n, seed=seed)
        file = job.prepare(drawn, base, asked.base_model.fim, asked, folder / "jobs", {"noise": name})
        prepared = job.Job.read(file)
        train(prepared, name, lambda done, total: None)
        nats[name] = _nats(prepared.result, held_out, asked)
    return Learnt(n, held_out["region_id"].to_list(), nats)


def _nats(model: Path, samples: pl.DataFrame, asked: Settings) -> Floats:
    tokenizer = models.load_tokenizer(model)
    fmt = fim.fim_format(asked.base_model.fim, tokenizer)
    encoded = [
        fim.encode(fmt, tokenizer, *row) for row in samples.select("prefix", "suffix", "middle").iter_rows()
    ]
    loaded = models.load_causal_lm(model)
    return np.array(likelihood.nats_per_token(loaded, encoded, asked.perplexity.batch_tokens))


def measure(folder: Path, n_samples: int, *, learns: bool = True) -> Iterator[Table]:
    """Yield the tables of the whole measurement, on `n_samples` of simulated days."""
    asked = simulated.settings(folder, **SIZES)
    samples = simulated.refined(asked, users=12, days=3)
    samples = samples.sample(min(n_samples, samples.height), seed=17).sort("sample_id")
    by_scorer = {scorer: score(samples, asked, scorer) for scorer in ("model", "token_prior")}
    yield from tables(by_scorer, asked.perplexity)
    if learns:
        yield learn(samples, by_scorer["model"], asked, folder).table()
