"""The plots: frames in, Altair charts out.

What lives here: one function per plot. What does not: reading tables and choosing what to plot (`report.py`,
the assets), and the look and the rendering (`pictures.py`, whose functions callers find here too).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import altair as alt
import polars as pl

from echo_dagster.evaluation.pictures import (
    AMBER,
    BLUE,
    GREEN,
    MUTED,
    PURPLE,
    TEXT,
    VERMILION,
    PlotError,
    png,
    png_markdown,
    styled,
    svg,
)

__all__ = [
    "PlotError",
    "comparison",
    "denoising",
    "funnel",
    "mix",
    "perplexity",
    "perplexity_bins",
    "png",
    "png_markdown",
    "preference_curve",
    "reasons",
    "svg",
    "training_curve",
    "trend",
]

#: The reasons of denoising.
_CUT_COLOURS = {"ppl_low": GREEN, "ppl_high": VERMILION, "ifd_above_one": PURPLE}
_REASON_COLOURS = (VERMILION, AMBER, PURPLE, GREEN)
ROLE_COLOURS = {"base": MUTED, "static": GREEN, "champion": AMBER, "candidate": BLUE}

#: More rows than this in one plot cannot be read; the rest is one row named so.
MAX_ROWS = 24

_MIX_WIDTH = 340

#: Names can hold anything. A list of names as the order becomes a program in the chart; a number does not.
_BY_PLACE = alt.EncodingSortField(field="place", op="min")

METRIC_TITLES = {
    "predicted_retained_chars": "Predicted retained characters",
    "predicted_acceptance_rate": "Predicted acceptance rate",
    "exact_match": "Exact match, share",
    "edit_similarity": "Edit similarity",
    "chrf": "chrF",
    "first_line_match": "First-line match, share",
    "middle_nats_per_token": "NLL of C_N, nats per token (lower is better)",
    "prediction_nats_per_token": "NLL of the answer, nats per token",
    "reversal_rate": "Reversals, share (lower is better)",
    "syntax_validity": "Syntactically valid, share",
    "tokens_per_completion": "Tokens per completion",
    "latency_s_per_completion": "Latency per completion, s (lower is better)",
}


def funnel(steps: pl.DataFrame) -> alt.LayerChart:
    """Bars of what each step kept and rejected, in the order given.

    Args:
        steps: columns `step` (str), `n_kept` and `n_rejected` (rows), one row per step.
    """
    total = pl.col("n_kept") + pl.col("n_rejected")
    parts = pl.concat(
        [
            steps.select(
                "step",
                place=pl.int_range(pl.len()),
                fate=pl.lit(fate),
                rows=pl.col(column).cast(pl.Int64),
                total=total.cast(pl.Int64),
                kept=pl.col("n_kept").cast(pl.Int64),
            )
            for fate, column in (("kept", "n_kept"), ("rejected", "n_rejected"))
        ]
    )
    base = alt.Chart(_data(parts)).encode(y=alt.Y("step:N", sort=_BY_PLACE, title=None))
    bars = base.mark_bar(height=18).encode(
        x=alt.X("rows:Q", title=None, axis=_whole_axis(max(parts["total"], default=0))),
        color=alt.Color(
            "fate:N", title=None, scale=alt.Scale(domain=["kept", "rejected"], range=[BLUE, VERMILION])
        ),
        order=alt.Order("fate:N"),
    )
    labels = (
        base.transform_filter("datum.fate === 'kept'")
        .transform_calculate(of="datum.kept < datum.total ? ' of ' + format(datum.total, ',') : ''")
        .transform_calculate(label="format(datum.kept, ',') + datum.of")
        .mark_text(align="left", dx=6, color=TEXT)
        .encode(x="total:Q", text="label:N")
    )
    return styled(alt.layer(bars, labels).properties(width=520, height=alt.Step(30)))


def reasons(counts: pl.DataFrame) -> alt.LayerChart:
    """Bars of rows by reason, the most frequent first.

    Args:
        counts: columns `reason` (str) and `rows`, one row per reason.
    """
    shown = _top(counts, "reason", ["rows"])
    base = alt.Chart(_data(shown.with_row_index("place"))).encode(
        y=alt.Y("reason:N", sort=_BY_PLACE, title=None),
        x=alt.X("rows:Q", title=None, axis=_whole_axis(max(shown["rows"], default=0))),
    )
    bars = base.mark_bar(color=VERMILION, height=14)
    labels = base.mark_text(align="left", dx=5, color=TEXT).encode(text=alt.Text("rows:Q", format=","))
    return styled(alt.layer(bars, labels).properties(width=420, height=alt.Step(22)))


def mix(strata: pl.DataFrame) -> alt.LayerChart:
    """Shares of the strata before and after balancing, joined by a line and told in figures.

    The row of all strata beyond `MAX_ROWS` has figures only: its share is that of many, and would squeeze the others.

    Args:
        strata: columns `stratum` (str), `n_before` and `n_after` (rows), one row per stratum.
    """
    return styled(_before_and_after(strata, "share of the day's samples"))


def _before_and_after(strata: pl.DataFrame, title: str) -> Any:
    shown = _top(
        strata.sort("n_before", "stratum", descending=[True, False]), "stratum", ["n_before", "n_after"]
    )
    shares = shown.with_row_index("place").select(
        "stratum",
        "place",
        before=_share("n_before"),
        after=_share("n_after"),
        is_rest=pl.lit(len(strata) > MAX_ROWS) & (pl.col("place") == MAX_ROWS - 1),
    )
    points = pl.concat(
        [shares.with_columns(mix=pl.lit(mix), share=pl.col(mix)) for mix in ("before", "after")]
    )
    base = alt.Chart(_data(points)).encode(y=alt.Y("stratum:N", sort=_BY_PLACE, title=None))
    named = base.transform_filter("!datum.is_rest")
    lines = named.mark_rule(color=MUTED, strokeWidth=1.5).encode(x="before:Q", x2="after:Q")
    dots = named.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("share:Q", title=title, axis=alt.Axis(format=".3~p", tickCount=6)),
        color=alt.Color(
            "mix:N", title=None, scale=alt.Scale(domain=["before", "after"], range=[MUTED, BLUE])
        ),
        shape=alt.Shape("mix:N", scale=alt.Scale(domain=["before", "after"], range=["diamond", "circle"])),
    )
    figures = (
        base.transform_filter("datum.mix === 'after'")
        .transform_calculate(label="format(datum.before, '.1%') + ' → ' + format(datum.after, '.1%')")
        .mark_text(align="left", color=TEXT)
        .encode(x=alt.value(_MIX_WIDTH + 14), text="label:N")
    )
    return alt.layer(lines, dots, figures).properties(width=_MIX_WIDTH, height=alt.Step(22))


def denoising(cut: pl.DataFrame) -> alt.HConcatChart:
    """What denoising did to the mix: shares before and after it, and what each stratum lost, by reason.

    Args:
        cut: rows of `DENOISING_SCHEMA`; scorers are added up.
    """
    by_stratum = cut.group_by("stratum").agg(
        pl.col("n_before", "n_after", *(f"n_{reason}" for reason in _CUT_COLOURS)).sum()
    )
    in_order = by_stratum.sort("n_before", "stratum", descending=[True, False])
    shares = _before_and_after(in_order, "share of all samples")
    reasons = list(_CUT_COLOURS)
    lost = (
        _top(in_order, "stratum", ["n_before", *(f"n_{reason}" for reason in reasons)])
        .with_row_index("place")
        .unpivot(
            [f"n_{reason}" for reason in reasons],
            index=["place", "stratum", "n_before"],
            variable_name="reason",
        )
        .with_columns(pl.col("reason").str.strip_prefix("n_"), share=pl.col("value") / pl.col("n_before"))
    )
    bars = (
        alt.Chart(_data(lost))
        .mark_bar(height=12)
        .encode(
            y=alt.Y("stratum:N", sort=_BY_PLACE, title=None, axis=None),
            x=alt.X(
                "share:Q", title="dropped, share of the stratum", axis=alt.Axis(format=".0%", tickCount=5)
            ),
            color=alt.Color(
                "reason:N",
                title=None,
                sort=reasons,
                scale=alt.Scale(domain=reasons, range=list(_CUT_COLOURS.values())),
            ),
        )
        .properties(width=240, height=alt.Step(22))
    )
    return styled(
        alt.hconcat(shares, bars, spacing=30).resolve_scale(color="independent", shape="independent")
    )


def perplexity(scored: pl.DataFrame, width_nats: float = 0.25) -> alt.Chart:
    """Histogram of the NLL of C_N; the last bar holds all beyond the 99th percentile.

    Args:
        scored: `middle_nats_per_token`, one row per sample, and where known `verdict`: `kept` or a reason.
            Rows without a finite value are left out.
        width_nats: width of a bar.
    """
    scored = _scored(scored)
    bins = perplexity_bins(scored, width_nats)
    other = (
        scored.filter(~pl.col("verdict").is_in(["kept", "scored"]))["verdict"]
        .value_counts()
        .sort("count", "verdict", descending=[True, False])
    )
    named = other["verdict"].head(len(_REASON_COLOURS)).to_list()
    bins = bins.with_columns(
        verdict=pl.when(pl.col("verdict").is_in(["kept", "scored", *named]))
        .then("verdict")
        .otherwise(pl.lit("other reasons"))
    )
    colour = {
        "kept": BLUE,
        "scored": BLUE,
        **dict(zip(named, _REASON_COLOURS, strict=False)),
        "other reasons": MUTED,
    }
    domain = [verdict for verdict in colour if verdict in bins["verdict"]]
    places = {verdict: place for place, verdict in enumerate(domain)}
    bins = bins.with_columns(place=pl.col("verdict").replace_strict(places, return_dtype=pl.Int64))
    chart = (
        alt.Chart(_data(bins))
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X("low:Q", bin="binned", title="NLL of C_N given C_0, nats per token"),
            x2="high:Q",
            y=alt.Y("sum(rows):Q", title="samples", axis=_whole_axis(len(scored))),
            color=alt.Color(
                "verdict:N",
                title=None,
                scale=alt.Scale(domain=domain, range=[colour[name] for name in domain]),
            ),
            order=alt.Order("place:Q"),
        )
    )
    return styled(chart.properties(width=520, height=220))


def perplexity_bins(scored: pl.DataFrame, width_nats: float = 0.25) -> pl.DataFrame:
    """Return the bars of that histogram: `low`, `high` (nats per token), `verdict` and `rows`."""
    scored, nats = _scored(scored), pl.col("middle_nats_per_token")
    limit = _ceiling(scored["middle_nats_per_token"].quantile(0.99) or 0.0, width_nats)
    return (
        scored.with_columns(low=(nats.clip(upper_bound=limit) / width_nats).floor() * width_nats)
        .group_by("low", "verdict")
        .agg(rows=pl.len())
        .with_columns(high=pl.col("low") + width_nats)
        .sort("low", "verdict")
    )


def _scored(scored: pl.DataFrame) -> pl.DataFrame:
    scored = scored.filter(pl.col("middle_nats_per_token").is_finite())
    return scored if "verdict" in scored.columns else scored.with_columns(verdict=pl.lit("scored"))


def training_curve(history: Sequence[Mapping[str, Any]]) -> alt.VConcatChart:
    """Training loss over steps, with that of samples that are not trained on, and the learning rate below it.

    Args:
        history: one mapping per logged step: `step`, `loss_nats_per_token`, `learning_rate`; after some of them also
            `validation_nats_per_token`.

    Raises:
        PlotError: the history is empty, or one of the three is missing from a step or no finite number.
    """
    names = ("step", "loss_nats_per_token", "learning_rate")
    if not history or not all(
        isinstance(row, Mapping) and all(_is_number(row.get(name)) for name in names) for row in history
    ):
        raise PlotError(f"a training history needs at least one step, each with a finite {', '.join(names)}")
    data = alt.Data(values=[{name: row[name] for name in names} for row in history])
    measured = [
        {"step": row["step"], "nats": row["validation_nats_per_token"]}
        for row in history
        if _is_number(row.get("validation_nats_per_token"))
    ]
    x = alt.X("step:Q", axis=_whole_axis(int(history[-1]["step"])))
    loss = (
        alt.Chart(data)
        .mark_line(
            color=BLUE, strokeWidth=1.8, point={"color": BLUE, "size": 22} if len(history) <= 60 else False
        )
        .encode(
            x=x.title(None),
            y=alt.Y("loss_nats_per_token:Q", title="loss, nats per token", scale=alt.Scale(zero=False)),
        )
        .properties(width=520, height=190)
    )
    if measured:
        held_out = (
            alt.Chart(
                alt.Data(values=measured), title="blue: trained on; red: not trained on, the lowest is kept"
            )
            .mark_line(color=VERMILION, strokeWidth=1.5, point={"color": VERMILION, "size": 50})
            .encode(x=x.title(None), y="nats:Q")
        )
        loss = (loss + held_out).properties(width=520, height=190)
    rate = (
        alt.Chart(data)
        .mark_line(color=MUTED, strokeWidth=1.5)
        .encode(
            x=x.title("optimizer step"),
            y=alt.Y("learning_rate:Q", title="learning rate", axis=alt.Axis(format="~e", tickCount=2)),
        )
        .properties(width=520, height=50)
    )
    return styled(alt.vconcat(loss, rate, spacing=12))


def preference_curve(history: Sequence[Mapping[str, Any]]) -> alt.VConcatChart:
    """DPO's loss over steps, and below it reward margin and reward accuracy.

    Args:
        history: one mapping per step: `step`, `loss`, `reward_margin`, `reward_accuracy`.

    Raises:
        PlotError: the history is empty, or one of them is missing from a step or no finite number.
    """
    titles = {"loss": "loss", "reward_margin": "reward margin", "reward_accuracy": "reward accuracy"}
    names = ("step", *titles)
    if not history or not all(_is_number(row.get(name)) for row in history for name in names):
        raise PlotError(f"a history of preference needs at least one step, each with {', '.join(names)}")
    data = alt.Data(values=[{name: row[name] for name in names} for row in history])
    x = alt.X("step:Q", axis=_whole_axis(int(history[-1]["step"])), title="optimizer step")
    panels = [
        alt.Chart(data)
        .mark_line(color=BLUE, strokeWidth=1.8)
        .encode(x=x, y=alt.Y(f"{name}:Q", title=title, scale=alt.Scale(zero=False)))
        .properties(width=520, height=100)
        for name, title in titles.items()
    ]
    return styled(alt.vconcat(*panels, spacing=12))


def comparison(evaluated: pl.DataFrame) -> alt.FacetChart:
    """One panel per metric: each role's value with its interval.

    Args:
        evaluated: rows of `EVALUATED_SCHEMA`; drawn are the roles' own values over all gaps.
    """
    evaluated = evaluated.filter(pl.col("versus").is_null() & (pl.col("slice") == "all"))
    roles = [role for role in ROLE_COLOURS if role in evaluated["role"]]
    present = {str(name) for name in evaluated["metric"]}
    metrics = [name for name in METRIC_TITLES if name in present] + sorted(present - METRIC_TITLES.keys())
    rows = evaluated.select("role", "value", "low", "high", metric=pl.col("metric").replace(METRIC_TITLES))
    y = alt.Y("role:N", sort=roles, title=None)
    colour = alt.Color(
        "role:N", legend=None, scale=alt.Scale(domain=roles, range=[ROLE_COLOURS[role] for role in roles])
    )
    x = alt.X("value:Q", title=None, scale=alt.Scale(zero=False, padding=16), axis=alt.Axis(tickCount=5))
    panel = alt.layer(
        alt.Chart().mark_rule(strokeWidth=2).encode(y=y, x=alt.X("low:Q"), x2="high:Q", color=colour),
        alt.Chart().mark_point(filled=True, size=90, opacity=1).encode(y=y, x=x, color=colour),
        alt.Chart()
        .mark_text(dy=-12, color=TEXT, fontSize=11)
        .encode(y=y, x="value:Q", text=alt.Text("value:Q", format=".3f")),
        data=_data(rows),
    ).properties(width=440, height=alt.Step(34))
    order = [METRIC_TITLES.get(name, name) for name in metrics]
    return styled(
        panel.facet(facet=alt.Facet("metric:N", sort=order, title=None), columns=2).resolve_scale(
            x="independent"
        )
    )


def trend(points: pl.DataFrame, marks: pl.DataFrame | None = None, *, percent: bool = True) -> alt.LayerChart:
    """Lines over days, one per series, with a dashed rule where the serving model changed.

    Args:
        points: columns `day`, `series` (str) and `value`.
        marks: columns `day` and `label` (str): what began on that day.
        percent: whether values are shares.
    """
    series = points["series"].unique(maintain_order=True).to_list()
    colours = [ROLE_COLOURS.get(name, (BLUE, GREEN, PURPLE, AMBER)[i % 4]) for i, name in enumerate(series)]
    days = points["day"].unique().sort()
    span = (days[-1] - days[0]) // timedelta(days=1) if len(days) else 0
    step = max(1, math.ceil(span / 8))
    axis = alt.Axis(format="%-d %b", tickCount={"interval": "day", "step": step}, grid=False)
    x = alt.X("day:T", title=None, scale=alt.Scale(type="utc"), axis=axis)
    lines = (
        alt.Chart(_data(points))
        .mark_line(strokeWidth=1.8, point={"size": 36, "filled": True})
        .encode(
            x=x,
            y=alt.Y(
                "value:Q",
                title=None,
                axis=alt.Axis(format=".0%" if percent else ".3~f", tickCount=5),
                scale=alt.Scale(zero=False, nice=True),
            ),
            color=alt.Color(
                "series:N", title=None, sort=series, scale=alt.Scale(domain=series, range=colours)
            ),
        )
    )
    layers: list[alt.Chart] = [lines]
    if marks is not None and len(marks):
        rule = alt.Chart(_data(marks)).encode(x=alt.X("day:T", scale=alt.Scale(type="utc")))
        layers.append(rule.mark_rule(color=MUTED, strokeDash=[4, 3]))
        layers.append(
            rule.mark_text(align="left", dx=-1, y=-7, fontSize=10, color=TEXT).encode(text="label:N")
        )
    return styled(alt.layer(*layers).properties(width=520, height=200), legend_offset=18)


def _data(frame: pl.DataFrame) -> alt.Data:
    dates = [name for name, kind in frame.schema.items() if kind == pl.Date]
    return alt.Data(values=frame.with_columns(pl.col(dates).cast(pl.String)).to_dicts())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _share(column: str) -> pl.Expr:
    return pl.col(column) / pl.max_horizontal(pl.col(column).sum(), 1)


def _ceiling(value: float, step: float) -> float:
    return (value // step + 1) * step


def _whole_axis(largest: int) -> alt.Axis:
    """Return an axis of counts: never a tick at half a row."""
    return alt.Axis(format=",d", tickMinStep=1, tickCount=min(6, max(1, largest)))


def _top(frame: pl.DataFrame, label: str, counts: list[str]) -> pl.DataFrame:
    """Return the first `MAX_ROWS` rows, the others added up in a last one."""
    if len(frame) <= MAX_ROWS:
        return frame
    rest = frame.slice(MAX_ROWS - 1)
    last = rest.select(pl.col(counts).sum()).with_columns(pl.lit(f"{len(rest)} others").alias(label))
    return pl.concat([frame.head(MAX_ROWS - 1).select(label, *counts), last.select(label, *counts)])
