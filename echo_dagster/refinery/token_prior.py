"""Likelihoods without a model: how common the tokens of C_N are on the day, and whether its context holds them.

For machines that have no time for a model. Seo et al. (arXiv 2509.18577) filter by token priors in its place, at a
thousandth of the cost. A prior alone cannot tell whether C_N belongs to its context, so the context's own tokens are
counted as well, as a cache language model does (Kuhn and De Mori, 1990).

What does not live here: the columns and when this scorer is taken (`perplexity.py`), what is dropped (`denoise.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from tokenizers import Tokenizer

from echo_dagster.fim import split_boundary

#: What a scorer finds out of every sample.
COLUMNS = ("middle_nats_per_token", "proposal_nats_per_token", "middle_alone_nats_per_token")

_Ids = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
#: Samples between two words of progress.
_TOLD = 256


def score(
    samples: pl.DataFrame, tokenizer: Tokenizer, progress: Callable[[int, int], None] | None = None
) -> pl.DataFrame:
    """Return three columns of nats per token, in the order of `samples`.

    The prior p(t) of a token is its share of the day's contexts, each count plus one; of every document the longest
    context counts, as a document is shown many times. In a context of n tokens, k of them different, where t stands
    c(t) times, it has p(t | C_0) = (c(t) + k p(t)) / (n + k): Witten and Bell's interpolation (1991), which has no
    parameter to choose. The order of tokens does not count.

    `middle_nats_per_token` is the mean of -ln p(t | C_0) over the tokens of C_N and the text carried into them
    (`fim.py`); `proposal_nats_per_token` that over C_1, null where nothing was proposed.
    `middle_alone_nats_per_token` is that of C_N in the contexts of the day's other documents, on average; where there
    is no other document, by the prior. So their ratio is above 1 where C_N would be likelier anywhere else.

    Args:
        samples: of `BALANCED_SCHEMA`, all of a day.
        tokenizer: the base model's own.
        progress: called with samples done and in all.

    Raises:
        ValueError: a middle is empty.
    """
    prefixes = samples["prefix"].to_list()
    befores = _ids(tokenizer, [split_boundary(prefix)[0] for prefix in prefixes])
    afters = _ids(tokenizer, samples["suffix"].fill_null("").to_list())
    carried = [split_boundary(prefix)[1] for prefix in prefixes]
    middles = _ids(tokenizer, [head + text for head, text in zip(carried, samples["middle"], strict=True)])
    proposed = samples["proposal"].fill_null("").to_list()
    proposals = _ids(tokenizer, [head + text for head, text in zip(carried, proposed, strict=True)])
    if not all(middle.size for middle in middles):
        raise ValueError("a target of no token has no likelihood; score only gaps that hold text")

    contexts = [np.concatenate(both) for both in zip(befores, afters, strict=True)]
    longest = _longest(contexts, samples["document"])
    prior = _prior([contexts[place] for place in set(longest)], tokenizer.get_vocab_size())
    anywhere = sum((_nats(contexts[place], prior) for place in sorted(set(longest))), np.zeros_like(prior))
    n_others = len(set(longest)) - 1
    rows = []
    for place, (context, middle, proposal) in enumerate(zip(contexts, middles, proposals, strict=True)):
        here = _nats(context, prior)
        elsewhere = (
            (anywhere[middle] - _nats(contexts[longest[place]], prior)[middle]) / n_others
            if n_others
            else -np.log(prior[middle])
        )
        of_proposal = float(here[proposal].mean()) if proposed[place] else None
        rows.append((float(here[middle].mean()), of_proposal, float(elsewhere.mean())))
        if progress is not None and (len(rows) % _TOLD == 0 or len(rows) == len(contexts)):
            progress(len(rows), len(contexts))
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.Float64), orient="row")


def _longest(contexts: Sequence[_Ids], documents: pl.Series) -> list[int]:
    """Return, for each sample, the place of the longest context of its document."""
    lengths = pl.DataFrame({"document": documents, "length": [context.size for context in contexts]})
    in_order = pl.col("place").sort_by("length", "place", descending=[True, False])
    return lengths.with_row_index("place").select(in_order.first().over("document")).to_series().to_list()


def _prior(contexts: Sequence[_Ids], size: int) -> _Floats:
    """Return each token's share of some contexts, one added to every count."""
    counts = np.ones(size)
    for context in contexts:
        counts += np.bincount(context, minlength=size)
    return counts / counts.sum()


def _nats(context: _Ids, prior: _Floats) -> _Floats:
    """Return -ln p(t | context) of every token; an empty context leaves the prior."""
    if not context.size:
        return -np.log(prior)
    counts = np.bincount(context, minlength=prior.size)
    kinds = np.count_nonzero(counts)
    nats: _Floats = -np.log((counts + kinds * prior) / (context.size + kinds))
    return nats


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[_Ids]:
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]
