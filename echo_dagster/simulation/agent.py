"""The model beside which simulated developers work: requests in, proposals out, a batch at a time.

What does not live here: when it is asked and what becomes of the answer (`writing.py`), and decoding
(`echo_dagster.generation`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tokenizers import Tokenizer

from echo_dagster import fim, generation, models
from echo_dagster.settings import Settings

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Request:
    """What an editor sends: the document before and after the cursor, and how many lines may be proposed."""

    prefix: str
    suffix: str
    max_lines: int


class Agent(Protocol):
    """Whatever answers requests."""

    @property
    def model(self) -> str:
        """The served model's name in the log."""
        ...

    @property
    def digest(self) -> str:
        """What names exactly its weights."""
        ...

    def propose(self, requests: Sequence[Request]) -> list[str]:
        """Return one proposal for each request, in order; a blank one says that there is none."""
        ...


@dataclass(frozen=True)
class Budget:
    """What one request may cost, in tokens. The context is cut around the cursor, as when serving."""

    prefix_tokens: int = 128
    suffix_tokens: int = 32
    line_tokens: int = 24
    block_tokens: int = 56
    batch_size: int = 32


def from_settings(settings: Settings) -> Agent:
    """Return the configured base model as an agent that sees as much context as training samples hold."""
    cut = settings.truncation
    budget = Budget(prefix_tokens=cut.prefix_tokens, suffix_tokens=cut.suffix_tokens)
    return load(models.resolve(settings.base_model, settings.data_dir), settings, budget)


def load(resolved: models.ResolvedModel, settings: Settings, budget: Budget) -> Agent:
    """Load a model directory as an agent."""
    tokenizer = models.load_tokenizer(resolved.path)
    form = fim.fim_format(settings.base_model.fim, tokenizer)
    model = models.load_causal_lm(resolved.path)

    def complete(contexts: list[tuple[str, str | None]], max_lines: int) -> list[str]:
        return generation.complete(
            model,
            tokenizer,
            form,
            contexts,
            max_new_tokens=budget.line_tokens if max_lines == 1 else budget.block_tokens,
            batch_size=budget.batch_size,
            stop=lambda text: text.count("\n") >= max_lines,
        )

    return _ModelAgent(resolved.name, resolved.digest, tokenizer, budget, complete)


@dataclass(frozen=True)
class _ModelAgent:
    model: str
    digest: str
    tokenizer: Tokenizer
    budget: Budget
    complete: Callable[[list[tuple[str, str | None]], int], list[str]]

    def propose(self, requests: Sequence[Request]) -> list[str]:
        proposals = [""] * len(requests)
        for max_lines in sorted({request.max_lines for request in requests}):
            chosen = [index for index, request in enumerate(requests) if request.max_lines == max_lines]
            texts = self.complete([self._context(requests[index]) for index in chosen], max_lines)
            for index, text in zip(chosen, texts, strict=True):
                proposals[index] = shown(text, max_lines)
        return proposals

    def _context(self, request: Request) -> tuple[str, str | None]:
        return (
            last_tokens(self.tokenizer, request.prefix, self.budget.prefix_tokens),
            first_tokens(self.tokenizer, request.suffix, self.budget.suffix_tokens),
        )


def shown(text: str, max_lines: int) -> str:
    """Return what an editor shows of a completion: its first lines, without blanks at the end.

    A completion that begins with a line break proposes nothing for the line at hand.
    """
    if text.startswith("\n"):
        return ""
    return "\n".join(text.split("\n")[:max_lines]).rstrip()


#: No token of source code is longer, but for runs of blanks: the text that surely holds the tokens wanted.
_CHARS_PER_TOKEN = 12


def last_tokens(tokenizer: Tokenizer, text: str, count: int) -> str:
    """Return the end of `text` that is `count` tokens long."""
    text = text[-count * _CHARS_PER_TOKEN :]
    starts = [start for start, _ in tokenizer.encode(text, add_special_tokens=False).offsets]
    return text if len(starts) <= count else text[starts[-count] :]


def first_tokens(tokenizer: Tokenizer, text: str, count: int) -> str:
    """Return the beginning of `text` that is `count` tokens long."""
    text = text[: count * _CHARS_PER_TOKEN]
    ends = [end for _, end in tokenizer.encode(text, add_special_tokens=False).offsets]
    return text if len(ends) <= count else text[: ends[count - 1]]
