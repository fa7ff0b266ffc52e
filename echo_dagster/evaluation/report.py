"""The report of one day: a single HTML page that needs nothing but itself.

What lives here: joining facts, plots and samples into the page, and writing it. What does not: reading tables
(`report_facts.py`, `report_models.py` and those beside them), which plots there are (`report_plots.py`), which gaps
and how much of their text may be shown (`report_samples.py`), the look of plots (`plots.py`) and of the page
(`templates/`).

The page holds no clock and no random choice: the same tables give the same bytes.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import altair as alt
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import echo_dagster
from echo_dagster.evaluation import plots, report_denoising, report_facts, report_models, report_plots
from echo_dagster.evaluation.report_decision import decision
from echo_dagster.evaluation.report_metrics import METRICS
from echo_dagster.evaluation.report_samples import Browser, browse
from echo_dagster.evaluation.report_trends import trends
from echo_dagster.evaluation.report_user import user
from echo_dagster.evaluation.report_verdict import verdicts
from echo_dagster.lake import Lake
from echo_dagster.secrets import mask
from echo_dagster.settings import Settings

#: Gaps in the sample browser. More make a page that is slow to open and that nobody reads to its end.
MAX_SAMPLES = 1000
MISSING = "—"
_LEAST_SCALE = 0.65  # of a plot, whose small print is 10 px


def page_path(day: date, settings: Settings) -> Path:
    """Return where the report of `day` stands, or will."""
    return settings.data_dir / "reports" / f"{day.isoformat()}.html"


def write(lake: Lake, day: date, settings: Settings, out: Path | None = None) -> Path:
    """Write the report of `day` to `out`, by default `<data_dir>/reports/<day>.html`, and return its path.

    The file appears whole or not at all.
    """
    page = render(lake, day, settings)
    path = page_path(day, settings) if out is None else out
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def render(lake: Lake, day: date, settings: Settings) -> str:
    """Return the report of `day` as HTML. A section with nothing to show says why in a sentence."""
    browser = browse(lake, day, mask, limit=MAX_SAMPLES)
    facts = _facts(lake, day, settings)
    found = report_plots.of_day(facts, report_models.offline_trend(lake, day))
    page = _environment().get_template("report.html.j2")
    return page.render(
        day=day,
        simulated=report_facts.simulated(lake, day, settings),
        settings=settings,
        version=echo_dagster.__version__,
        plots={name: _drawing(plot.chart, name) for name, plot in found.items()},
        plots_json=_json(
            {"day": day.isoformat(), "tables": {name: plot.csv() for name, plot in found.items()}}
        ),
        verdicts=verdicts(facts["compared"], facts["user"]),
        browser=browser,
        browser_json=_json(_payload(browser)),
        choices=_choices(browser),
        **facts,
    )


def _drawing(chart: alt.TopLevelMixin, name: str) -> Markup:
    """Return a plot as SVG that a narrow screen does not make too small to read: it scrolls sideways instead."""
    text = plots.svg(chart, name)
    width = re.search(r'<svg [^>]*width="([\d.]+)"', text)
    assert width is not None
    return Markup(text.replace("<svg", f'<svg style="min-width:{_LEAST_SCALE * float(width[1]):.0f}px"', 1))


def write_plots(lake: Lake, day: date, settings: Settings, folder: Path) -> list[Path]:
    """Write every plot of the report of `day` to `folder`, each as PNG and as CSV, and return the paths."""
    found = report_plots.of_day(_facts(lake, day, settings), report_models.offline_trend(lake, day))
    return report_plots.write(found, day, folder)


def _facts(lake: Lake, day: date, settings: Settings) -> dict[str, Any]:
    return {
        "sources": report_facts.sources(lake, day),
        "funnel": report_facts.funnel(lake, day),
        "online": report_facts.online(lake, day),
        "trends": trends(lake, day, settings.evaluation),
        "mix": report_facts.mix(lake, day),
        "likelihood": report_facts.likelihood(lake, day, settings),
        "denoising": report_denoising.denoising(lake, day, settings, mask),
        "training": report_models.training(lake, day, settings),
        "compared": report_models.compared(lake, day),
        "user": user(lake, day),
        "decision": decision(lake, day),
    }


def _payload(browser: Browser | None) -> list[dict[str, Any]]:
    return [] if browser is None else browser.gaps


def _choices(browser: Browser | None) -> dict[str, list[tuple[str, int]]]:
    """Return, for each filter of the sample browser, its values with the number of gaps shown."""
    if browser is None:
        return {}
    choices = {}
    for name in ("verdict", "language", "outcome", "break_reason", "cohort"):
        counts: dict[str, int] = {}
        for gap in browser.gaps:
            value = gap[name] or ""
            counts[value] = counts.get(value, 0) + 1
        choices[name] = sorted(counts.items(), key=lambda item: (item[0] != "kept", -item[1], item[0]))
    return choices


def _json(value: Any) -> Markup:
    """Return JSON that can stand inside a `<script>`: nothing in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    # Half of a surrogate pair is no character and cannot be written as UTF-8.
    return Markup(text.encode("utf-8", "replace").decode("utf-8"))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("echo_dagster.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "share": share,
        "number": number,
        "metric": metric,
        "delta": delta,
    }
    environment.globals |= {"METRICS": METRICS, "asset": _asset}
    return environment


def _asset(name: str) -> Markup:
    """Return a file of templates/ as it is, to stand inside the page."""
    return Markup(files("echo_dagster.evaluation").joinpath("templates", name).read_text(encoding="utf-8"))


def count(value: int | None) -> str:
    """Return a count with thousands apart, or a dash."""
    return MISSING if value is None else f"{value:,}"


def share(value: float | None, digits: int = 1) -> str:
    """Return a share in percent, or a dash where there is none."""
    return MISSING if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed number of digits, or a dash."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def metric(value: float | None, name: str, unit: bool = True) -> str:
    """Return the value of a metric in its own form, with or without its unit."""
    text = share(value) if _is_share(name) else number(value, _digits(name))
    return text if unit else text.removesuffix(" %")


def delta(value: float | None, name: str, unit: bool = True) -> str:
    """Return a difference with its sign; one of shares is in percentage points."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{100 * value:+.1f}" if _is_share(name) else f"{value:+.{_digits(name)}f}"
    return text.replace("-", "\u2212") + (" pp" if unit and _is_share(name) else "")


def _digits(metric_name: str) -> int:
    return 1 if METRICS.get(metric_name, ("", "number", ""))[1] == "chars" else 3


def _is_share(metric_name: str) -> bool:
    return METRICS.get(metric_name, ("", "number", ""))[1] == "share"
