"""Settings: what a configuration may say, as validated, frozen objects. Every default has its one home here.

What does not live here: reading files and telling mistakes (`configuration.py`), and any behaviour.
"""

from __future__ import annotations

import json
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from echo_dagster.fim_formats import FAMILIES

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Section):
    """Log files of one tool."""

    name: str = Field(description="how this source is called in tables")
    importer: str = Field(description="which tool wrote it: see docs/importing")
    path: str = Field(description="a glob below the working directory; {day} stands for YYYY-MM-DD")
    consent: bool = Field(
        description="may these users' code be trained on, where an event does not say itself?"
    )
    cohort: str | None = Field(default=None, description="for example internal or external")
    user: str | None = Field(default=None, description="whose log this is, for tools that record no user")
    repository: str | None = Field(default=None, description="for tools that do not record it")
    model: str | None = Field(default=None, description="the served model, for tools that do not record it")


class Extraction(_Section):
    """How gaps end."""

    policy: str = Field(default="echo", description="what ends a gap: echo, zed or copilot_nes")


class Truncation(_Section):
    """How much of a gap becomes a sample, in tokens of the base model."""

    prefix_tokens: PositiveInt = Field(default=768, description="of the prefix, the tail that is kept")
    suffix_tokens: Annotated[int, Field(ge=0)] = Field(
        default=256, description="of the suffix, the head that is kept"
    )
    middle_tokens: PositiveInt = Field(
        default=256, description="the longest C_N; it is cut between statements"
    )


class Quality(_Section):
    """Which quality filters run, in which order, and their thresholds. Where each comes from: docs/refinery.md."""

    filters: tuple[str, ...] = Field(
        default=(
            *("no_consent", "censored", "language_unknown", "language_excluded"),
            *("bot_volume", "bot_rhythm", "bot_acceptance", "bot_speed"),
            *("reverted", "blank", "unchanged", "reversal", "paste_dominated", "agent_dominated"),
            *("generated", "long_lines", "low_alphanumeric", "encoded", "comment_share"),
            *("too_long", "too_short", "low_chars_per_token", "copy_of_suffix", "repetition", "degenerate"),
            *("syntax_errors_increased", "secret"),
        ),
        description="which filters run, in this order; one that is left out is switched off",
    )
    min_middle_chars: PositiveInt = Field(
        default=3, description="fewest characters of C_N that are not white space"
    )
    max_line_chars: PositiveInt = Field(default=1000, description="longest line of the file around the gap")
    max_mean_line_chars: PositiveInt = Field(default=100, description="mean line of the file around the gap")
    min_alphanumeric_share: Share = Field(
        default=0.25, description="letters and digits in the file around the gap"
    )
    max_encoded_chars: PositiveInt = Field(
        default=1024, description="longest run of base64 or hex in that file"
    )
    min_comment_share: Share = Field(
        default=0.0, description="fewest comments in that file, of its characters; 0: it needs none"
    )
    max_comment_share: Share = Field(default=0.8, description="most comments in that file, of its characters")
    min_chars_per_token: Annotated[float, Field(ge=0)] = Field(
        default=2.0, description="characters of the context / its tokens, by the base model's tokenizer"
    )
    max_pasted_share: Share = Field(default=0.5, description="pasted characters / characters of C_N")
    max_agent_share: Share = Field(default=0.5, description="characters an agent wrote / characters of C_N")
    max_repeated_line_share: Share = Field(
        default=0.5, description="lines of C_N that repeat an earlier one of it"
    )
    max_repeated_gram_share: Share = Field(
        default=0.5, description="8-grams of characters that repeat an earlier one of their line of C_N"
    )
    max_suffix_copy_share: Share = Field(
        default=0.5, description="how much of C_N may stand in the suffix already"
    )
    min_suffix_copy_chars: PositiveInt = Field(
        default=10, description="a shorter copy of the suffix is chance"
    )
    min_bot_proposals: Annotated[int, Field(ge=2)] = Field(
        default=50, description="a user with fewer proposals in a day is no bot, however they work"
    )
    max_user_proposals: PositiveInt = Field(
        default=10_000, description="new proposals that one user is shown in a day"
    )
    min_pause_dispersion: Share = Field(
        default=0.1, description="how much the pauses between a user's proposals differ: 0 is a clock"
    )
    max_untouched_share: Share = Field(
        default=0.95, description="of a user's proposals, those accepted without a key typed"
    )
    max_typing_speed: Annotated[float, Field(gt=0)] = Field(
        default=30.0, description="characters that a user types in a second"
    )
    languages: tuple[str, ...] = Field(
        default=(), description="languages to keep; empty keeps every known one"
    )


class Balance(_Section):
    """The mix of a day. Shares of strata are tempered: share ** temperature, renormalised."""

    temperature: Share = Field(
        default=0.7, description="1 keeps the day's mix, 0 gives every stratum the same share"
    )
    max_samples: PositiveInt = Field(default=50_000, description="samples a day, but for the smallest strata")
    max_user_share: Share = Field(
        default=0.3, description="of a day's samples; never below one user's equal share"
    )
    max_document_share: Share = Field(
        default=0.1, description="of a day's samples; never below one document's equal share"
    )
    max_repository_share: Share = Field(
        default=0.5, description="of a day's samples; never below one repository's equal share"
    )
    min_cap: Annotated[int, Field(ge=0)] = Field(
        default=100, description="no user, document or repository is cut to fewer samples a day"
    )
    min_stratum: Annotated[int, Field(ge=0)] = Field(
        default=8, description="no stratum is cut to fewer samples a day for the mix"
    )
    seed: int = Field(default=17, description="the same seed draws the same samples")


class Perplexity(_Section):
    """Scoring and the bands that denoising keeps, per stratum."""

    scorer: Literal["model", "token_prior"] = Field(
        default="model",
        description="the reference model, or counts of tokens for machines that have no time for it",
    )
    batch_tokens: PositiveInt = Field(default=4096, description="tokens in one forward pass")
    low_quantile: Share = Field(default=0.02, description="C_N likelier than this teaches nothing")
    high_quantile: Share = Field(default=0.88, description="C_N less likely than this is noise")
    max_ifd: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="above 1 the context makes C_N less likely"
    )
    min_stratum: PositiveInt = Field(
        default=20, description="a smaller stratum takes the band of its language, then of all"
    )


class Window(_Section):
    """What a training set is made of."""

    days: PositiveInt = Field(default=14, description="days before the training day, that day not included")
    held_out_user_share: Share = Field(
        default=0.1, description="users who are never trained on, by a seeded hash"
    )
    held_out_repository_share: Share = Field(
        default=0.0,
        description="repositories that are never trained on, by a seeded hash; a team with one would lose it all",
    )
    near_duplicate_similarity: Share | None = Field(
        default=0.7, description="of two samples so alike the later one goes; null: only exact duplicates do"
    )
    max_samples: PositiveInt = Field(
        default=200_000, description="largest training set; beyond, a seeded sample"
    )
    replay_share: Share = Field(
        default=0.0,
        description="samples of the days before the window, as many days, for each of its own: against forgetting",
    )
    plain_share: Share = Field(
        default=0.0, description="gaps cut out of the code around the window's samples, for each of them"
    )
    seed: int = Field(default=17, description="the same seed draws the same samples")

    @property
    def days_read(self) -> int:
        """How many days a training set is made of: the window, and the one before it if some of that is replayed."""
        return self.days * (2 if self.replay_share else 1)


class Training(_Section):
    """The fine-tune. Memory and speed of every choice: docs/training.md."""

    deepspeed: str = Field(default="zero2.json", description="a file of configs/deepspeed/")
    ranks: PositiveInt = Field(default=1, description="processes, one for each GPU; on a CPU mostly one")
    hostfile: Path | None = Field(
        default=None, description="`host slots=n` a line: the ranks of each host; null: all run on this one"
    )
    master_addr: str | None = Field(
        default=None, description="the address of the first host; null: the first that it names itself"
    )
    ssh_port: PositiveInt | None = Field(default=None, description="of all hosts; null: as ssh is configured")
    start_from: Literal["base", "champion"] = Field(
        default="base", description="the weights that a day starts from"
    )
    min_samples: PositiveInt = Field(default=32, description="a smaller training set trains nothing")
    epochs: PositiveInt = Field(default=1, description="passes over the training set")
    batch_size: PositiveInt = Field(default=8, description="samples per optimizer step, over all ranks")
    micro_batch_tokens: PositiveInt = Field(
        default=2048, description="tokens per forward pass of a rank; lower saves memory"
    )
    weighting: Literal["token", "sample"] = Field(
        default="token", description="what counts the same in a step: each target token, or each sample"
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        default=5e-5, description="the peak, reached after the warm-up"
    )
    warmup_share: Share = Field(
        default=0.05, description="of all steps, those in which the learning rate rises"
    )
    decay: Literal["linear", "cosine"] = Field(
        default="cosine", description="how the learning rate falls to zero"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.01, description="of matrices; norms and biases keep theirs"
    )
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="a longer gradient is shortened to it"
    )
    last_layers: PositiveInt | None = Field(
        default=None, description="train only the last n blocks; null trains all"
    )
    lora_rank: PositiveInt | None = Field(
        default=None, description="train low-rank adapters of this rank, merged at the end; null: the weights"
    )
    lora_alpha: Annotated[float, Field(gt=0)] = Field(
        default=32.0, description="what adapters add counts alpha / rank times"
    )
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="of what adapters read, the share that is zeroed"
    )
    lora_targets: tuple[str, ...] = Field(
        default=(), description="layers with adapters, such as q_proj; empty: all linear ones but the head"
    )
    validation_share: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.0, description="of the window, in whole files: not trained on, says when to stop; 0: none"
    )
    validations: PositiveInt = Field(default=4, description="how often an epoch that part is measured on")
    patience: PositiveInt = Field(
        default=3, description="so many of them without gain end the training; the best weights are kept"
    )
    min_validation_samples: PositiveInt = Field(
        default=16, description="a smaller part decides nothing, and nothing is trained"
    )
    recompute_activations: bool = Field(default=False, description="less memory, one more forward pass")
    checkpoint_minutes: Annotated[float, Field(gt=0)] = Field(
        default=10, description="the most work that a crash can lose"
    )
    seed: int = Field(default=17, description="the same seed draws the same samples")

    @model_validator(mode="after")
    def _adapters_or_weights(self) -> Training:
        if self.lora_rank is not None and self.last_layers is not None:
            raise ValueError(
                "lora_rank and last_layers exclude each other: with adapters no block's own weights learn; set "
                "last_layers: null to train adapters, or lora_rank: null to train the last blocks"
            )
        if self.lora_rank is None:
            idle = [
                name
                for name in ("lora_alpha", "lora_dropout", "lora_targets")
                if getattr(self, name) != type(self).model_fields[name].default
            ]
            if idle:
                raise ValueError(
                    f"{', '.join(idle)}: without effect while lora_rank is null; set a rank, such as 16"
                )
        return self


class Preference(_Section):
    """A second objective behind the fine-tune: C_N preferred to the C_1 that was shown, by DPO (docs/training.md)."""

    enabled: bool = Field(default=False, description="train on pairs of C_N and C_1 after the fine-tune")
    beta: Annotated[float, Field(gt=0)] = Field(
        default=0.1, description="how dear it is to leave the fine-tuned model; more stays nearer to it"
    )
    min_difference: Share = Field(
        default=0.2,
        description="edits between C_1 and C_N / the longer of both; a more alike pair says nothing",
    )
    max_length_ratio: Annotated[float, Field(ge=1)] = Field(
        default=2.0,
        description="tokens of the longer of C_1 and C_N / the shorter; beyond, length would be learnt",
    )
    min_pairs: PositiveInt = Field(
        default=32, description="fewer pairs train nothing, and the fine-tune stands"
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        default=1e-6, description="the peak, reached after the warm-up"
    )
    epochs: PositiveInt = Field(default=1, description="passes over the pairs")
    micro_batch_pairs: PositiveInt = Field(
        default=2, description="pairs per forward pass of a rank; lower saves memory"
    )
    sft_weight: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="of the fine-tune's loss on C_N beside DPO's; 0 leaves it out"
    )


class Evaluation(_Section):
    """The held-out comparison and the gate."""

    max_samples: PositiveInt = Field(
        default=500, description="held-out gaps compared a day; beyond, a seeded sample"
    )
    max_new_tokens: PositiveInt = Field(default=64, description="where a completion ends at the latest")
    batch_size: PositiveInt = Field(default=32, description="gaps completed at a time")
    batch_tokens: PositiveInt = Field(
        default=4096, description="tokens per batch when C_N's likelihood is taken"
    )
    bootstrap_samples: PositiveInt = Field(default=2000, description="resamples behind an interval")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        default=0.95, description="how often an interval holds the true value"
    )
    min_samples: PositiveInt = Field(default=30, description="held-out gaps below which nothing is promoted")
    min_slice_samples: PositiveInt = Field(
        default=20, description="gaps below which a slice gets no line of its own"
    )
    language_allowance: Share = Field(
        default=0.05,
        description="what a language may lose: of edit similarity, and of the champion's predicted retained characters",
    )
    nats_tolerance: Annotated[float, Field(ge=0)] = Field(
        default=0.05, description="how far above zero the interval of the change in nats per token may reach"
    )
    static_baseline_days: PositiveInt | None = Field(
        default=7,
        description="days from one static baseline to the next, counted from start_day; null: none is trained",
    )
    min_decisions: PositiveInt = Field(
        default=30, description="logged decisions that the calibrated user needs"
    )
    max_decisions: PositiveInt = Field(
        default=50_000, description="decisions it is fitted on; beyond, a seeded sample"
    )
    shadowed_shown: PositiveInt = Field(
        default=25,
        description="undismissed proposals a day, none accepted, that make a user one who does not see them",
    )
    min_group_users: PositiveInt = Field(
        default=1, description="users below which a group's online metrics are not told; 1 tells all"
    )
    seed: int = Field(default=17, description="the same seed draws the same samples")


class Serving(_Section):
    """Telling the serving side what serves."""

    webhook_url: str | None = Field(
        default=None, pattern=r"^https?://", description="is posted to when what serves changes"
    )
    webhook_timeout_s: Annotated[float, Field(gt=0)] = Field(
        default=10.0, description="how long an answer may take"
    )
    webhook_retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=3, description="further attempts at once; later ones are the sensor's"
    )


class Scaling(_Section):
    """How much is enough: training on growing shares of a training set."""

    shares: tuple[Share, ...] = Field(
        default=(0.0625, 0.125, 0.25, 0.5, 1.0),
        description="of the training set, each within the next; two or more, the smallest first",
    )
    seeds: PositiveInt = Field(default=1, description="trainings of each share; quality is their mean")

    @field_validator("shares")
    @classmethod
    def _rising(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if len(shares) < 2 or shares[0] <= 0 or list(shares) != sorted(set(shares)):
            raise ValueError("name two or more shares above 0, the smallest first and none twice")
        return shares


class Retention(_Section):
    """How many days tables keep. What is not named is kept for ever; `champion` always is: it says what serves."""

    raw_events: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="days of events; a day needs the one before it"
    )
    quarantined_events: PositiveInt | None = Field(default=None, description="days of what could not be read")
    gap_sessions: PositiveInt | None = Field(default=None, description="days of gaps; more than window.days")
    online_metrics: PositiveInt | None = Field(default=None, description="days of online metrics")
    online_users: PositiveInt | None = Field(default=None, description="days of their sums by user")
    trends: PositiveInt | None = Field(default=None, description="days of online metrics over all languages")
    filtered_samples: PositiveInt | None = Field(default=None, description="days of filtered samples")
    balanced_samples: PositiveInt | None = Field(default=None, description="days of balanced samples")
    rejected_samples: PositiveInt | None = Field(default=None, description="days of reasons for dropping")
    scored_samples: PositiveInt | None = Field(
        default=None, description="days of scored samples; more than window.days, twice that if replayed"
    )
    training_set: PositiveInt | None = Field(default=None, description="days of training sets")
    static_set: PositiveInt | None = Field(
        default=None, description="days of gaps that static baselines were trained on"
    )
    denoising: PositiveInt | None = Field(default=None, description="days of what denoising did to the mix")
    checkpoint: PositiveInt | None = Field(
        default=None, description="days of checkpoints, with their models; what serves stays"
    )
    static_baseline: PositiveInt | None = Field(
        default=None, description="days of static baselines; their models go with those of checkpoint"
    )
    champions: Annotated[int, Field(ge=0)] = Field(
        default=5, description="former champions whose models stay for a rollback, however old"
    )
    predictions: PositiveInt | None = Field(default=None, description="days of what models wrote")
    evaluated_model: PositiveInt | None = Field(default=None, description="days of comparisons")
    user_fit: PositiveInt | None = Field(
        default=None, description="days of what the calibrated user was like"
    )
    scaling: PositiveInt | None = Field(default=None, description="days of studies of growing shares")
    scaling_fit: PositiveInt | None = Field(default=None, description="days of what they found per doubling")
    reports: PositiveInt | None = Field(default=None, description="days of report pages")
    versions: Annotated[int, Field(ge=1, le=7)] = Field(
        default=7, description="days for which rows that were replaced or removed stay on disk"
    )
    stopped_trainings: PositiveInt = Field(
        default=7, description="days after which a training that was stopped cannot be gone on with"
    )

    def tables(self) -> dict[str, int]:
        """Return the days that each table keeps, of those that do not keep all."""
        others = ("champions", "reports", "versions", "stopped_trainings")
        told = {name: getattr(self, name) for name in type(self).model_fields if name not in others}
        return {name: days for name, days in told.items() if days is not None}


class FimTokens(_Section):
    """The fill-in-the-middle format: the markers, their order, and what ends a completion."""

    layout: Literal["psm", "spm", "spm_marked", "spm_bare"] = Field(
        description="psm: <prefix>P<suffix>S<middle>; spm: <prefix><suffix>S<middle>P; "
        "spm_marked: <suffix>S<prefix>P<middle>; spm_bare: <suffix>S<prefix>P; the middle comes behind it"
    )
    prefix: str
    suffix: str
    middle: str | None = None
    end: str
    start: str | None = Field(
        default=None, description="what every prompt begins with, if the model was trained so"
    )
    repurpose: dict[int, str] = Field(
        default={}, description="unused token ids that become the markers of a model that has none"
    )

    @model_validator(mode="after")
    def _middle_where_it_stands(self) -> FimTokens:
        if (self.middle is None) != (self.layout == "spm_bare"):
            raise ValueError(
                "spm_bare has no marker for the middle; remove it"
                if self.middle is not None
                else f"{self.layout} has a marker for the middle; name it"
            )
        return self


class ModelSource(_Section):
    """Where the weights come from: exactly one of the three."""

    package: str | None = Field(
        default=None, description="an installed Python package that carries a GGUF file"
    )
    hub: str | None = Field(default=None, description="a Hugging Face hub id")
    revision: str | None = None
    path: str | None = Field(default=None, description="a local directory that transformers loads")


class ModelSettings(_Section):
    """One file of configs/models/."""

    name: str
    source: ModelSource
    fim: FimTokens | None = Field(
        default=None, description="the name of a family, or a format; null: found from the tokenizer"
    )
    max_tokens: PositiveInt = 2048

    @field_validator("fim", mode="before")
    @classmethod
    def _family_by_name(cls, fim: object) -> object:
        if not isinstance(fim, str):
            return fim
        if fim not in FAMILIES:
            raise ValueError(f"expected one of {', '.join(FAMILIES)}, or a format of your own")
        return FAMILIES[fim].settings()

    @field_validator("source")
    @classmethod
    def _exactly_one(cls, source: ModelSource) -> ModelSource:
        given = [name for name in ("package", "hub", "path") if getattr(source, name)]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of package, hub and path (given: {', '.join(given) or 'none'})"
            )
        return source


class Settings(_Section):
    """Everything a run depends on."""

    data_dir: Path = Field(
        default=Path("data"), description="tables, models, checkpoints, reports; below the working directory"
    )
    start_day: date = Field(description="the first partition, a UTC day")
    end_day: date | None = Field(
        default=None, description="the last partition; null: yesterday, day after day"
    )
    schedule_hour_utc: Annotated[int, Field(ge=0, le=23)] = Field(
        default=2, description="when the nightly schedule takes yesterday"
    )
    memory_limit: str = Field(default="1GB", description="of each DuckDB query; beyond it spills to disk")
    model: str = Field(default="smollm2-135m", description="a file of configs/models/, without .yaml")
    sources: tuple[Source, ...] = Field(default=(), description="where logs are; see below")
    extraction: Extraction = Extraction()
    truncation: Truncation = Truncation()
    quality: Quality = Quality()
    balance: Balance = Balance()
    perplexity: Perplexity = Perplexity()
    window: Window = Window()
    training: Training = Training()
    preference: Preference = Preference()
    evaluation: Evaluation = Evaluation()
    serving: Serving = Serving()
    scaling: Scaling = Scaling()
    retention: Retention = Retention()
    base_model: ModelSettings = Field(description="filled from the file that `model` names")

    @property
    def lake_dir(self) -> Path:
        """Where the tables stand."""
        return self.data_dir / "lake"

    @property
    def digest(self) -> str:
        """Return a short hash of everything that can change a result; paths and the clock are not in it."""
        told = self.model_dump(
            mode="json",
            exclude={
                *("data_dir", "sources", "end_day", "schedule_hour_utc", "memory_limit"),
                *("serving", "retention"),
            },
        )
        return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
