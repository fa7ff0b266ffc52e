"""The fill-in-the-middle formats of the model families that teams serve, as data.

What does not live here: how a format becomes token ids, and how the right one is found (`fim.py`); the formats of a
configuration (`settings.py`).

A format is what a family was trained with: another order or another end token is understood worse, and nothing says
so. Each entry names where it was read. No more than the entry's comment says was run on this project's machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Family:
    """A family's format, and what tells its tokenizer from those of families with the same markers."""

    layout: str  # one of `fim.LAYOUTS`
    prefix: str
    suffix: str
    middle: str | None  # None: the middle follows the prefix, with no marker
    end: str
    start: str | None = None  # what every prompt begins with
    repository: str | None = None  # stands before a repository's name, and
    file: str | None = None  # before a file's path, in prompts of several files
    has: tuple[str, ...] = ()  # further tokens of its tokenizer
    lacks: tuple[str, ...] = ()  # tokens of others with the same markers
    repurpose: Mapping[int, str] = field(default_factory=dict)  # unused tokens that become the markers

    @property
    def markers(self) -> tuple[str, ...]:
        """The markers of a prompt, in no order."""
        return tuple(text for text in (self.prefix, self.suffix, self.middle) if text is not None)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Every token that the family's tokenizer has by this entry."""
        others = (self.end, self.start, self.repository, self.file, *self.has)
        return (*self.markers, *(text for text in others if text is not None))

    def settings(self) -> dict[str, object]:
        """Return what `settings.FimTokens` holds of it."""
        names = ("layout", "prefix", "suffix", "middle", "end", "start")
        return {**{name: getattr(self, name) for name in names}, "repurpose": dict(self.repurpose)}


_PIPED = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
_PLAIN = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")

FAMILIES: dict[str, Family] = {
    # Technical report, arXiv 2409.12186, figure 3 and section 3.2.2 (order, end, repository context); the markers are
    # tokens 151659 to 151664 of its tokenizer. Qwen3 and Qwen3.5 carry the same tokens.
    "qwen2.5-coder": Family(
        "psm",
        *_PIPED,
        end="<|endoftext|>",
        repository="<|repo_name|>",
        file="<|file_sep|>",
        has=("<|fim_pad|>",),
    ),
    # README and special_tokens_map.json of bigcode/starcoderbase; nuprl/MultiPL-E, starcoder2.py. Trained half in
    # psm, half in the layout that is called spm here. Mellum 2 has these markers too, and <|im_start|>: hence
    # `lacks`, here and in the next two.
    "starcoder": Family(
        "psm",
        *_PLAIN,
        end="<|endoftext|>",
        repository="<reponame>",
        file="<filename>",
        lacks=("<|im_start|>",),
    ),
    # arXiv 2402.19173, section 5.1 (repository context, psm and spm), and bigcode-project/starcoder2, issue 21.
    "starcoder2": Family(
        "psm",
        *_PLAIN,
        end="<|endoftext|>",
        repository="<repo_name>",
        file="<file_sep>",
        lacks=("<|im_start|>",),
    ),
    # ibm-granite/granite-code-models, issue 3: used "the same way as StarCoder's FIM". That its tokenizer holds the
    # tokens of repository context as well could not be verified, so they are not asked for.
    "granite-code": Family("psm", *_PLAIN, end="<|endoftext|>", lacks=("<|im_start|>",)),
    # IBM's documentation of Granite 3 ("FIM for a coding task"), as gergap/vim-ollama, pull request 65, cites it; the
    # end token is that of the models' own tokenizer_config.json.
    "granite-3": Family("psm", *_PLAIN, end="<|end_of_text|>"),
    # www.ibm.com/granite/docs/models/granite#fim, as editors cite it (order, end); tokenizer.json of Granite 4.0 H,
    # where the markers are tokens 100258 to 100260. Llama 4 has these markers and this end token, and no others of it.
    "granite-4": Family(
        "psm",
        *_PIPED,
        end="<|end_of_text|>",
        repository="<|reponame|>",
        file="<|filename|>",
        has=("<|fim_pad|>",),
    ),
    # README of deepseek-ai/DeepSeek-Coder, "Code Insertion", and arXiv 2401.14196 (order, end); its tokenizer sets the
    # start token before every prompt. Other files stand before it as comments: there is no token for them.
    "deepseek-coder": Family(
        "psm",
        prefix="<｜fim▁begin｜>",  # noqa: RUF001
        suffix="<｜fim▁hole｜>",  # noqa: RUF001
        middle="<｜fim▁end｜>",  # noqa: RUF001
        end="<｜end▁of▁sentence｜>",  # noqa: RUF001
        start="<｜begin▁of▁sentence｜>",  # noqa: RUF001
    ),
    # arXiv 2308.12950 and facebookresearch/codellama, llama/generation.py (infilling_prompt_tokens) and
    # llama/tokenizer.py: the implicit blank of SentencePiece stands before the prefix, not before suffix and middle.
    # `fim.py` does so. Not every Code Llama was trained to fill in: those for Python were not.
    "codellama": Family("psm", prefix="▁<PRE>", suffix="▁<SUF>", middle="▁<MID>", end="▁<EOT>", start="<s>"),
    # mistralai/mistral-common, InstructTokenizerV2.encode_fim, and its tests/test_fim.py:
    # "<s>[SUFFIX]return▁a▁+▁b[PREFIX]▁def▁f(". The token [MIDDLE] exists and is not used.
    "codestral": Family(
        "spm_bare", prefix="[PREFIX]", suffix="[SUFFIX]", middle=None, end="</s>", start="<s>"
    ),
    # ai.google.dev/gemma/docs/codegemma/prompt-structure (order, and the file separator, at which the model card stops)
    # and the tokenizer of Gemma, which sets <bos>.
    "codegemma": Family("psm", *_PIPED, end="<|file_separator|>", start="<bos>", file="<|file_separator|>"),
    # Model card of JetBrains/Mellum-4b-base (order, files); its special_tokens_map.json adds roles to StarCoder's
    # tokens. Read as other projects cite them. Mellum 2 could not be verified, and is refused.
    "mellum": Family(
        "spm_marked",
        *_PLAIN,
        end="<|endoftext|>",
        repository="<reponame>",
        file="<filename>",
        has=("<system>", "<user>", "<assistant>"),
    ),
    # The technical report of Seed-Coder and the README of Seed-Coder-8B-Base (order), and its special_tokens_map.json
    # (end). Whether a start token stands before the prompt is not said there: none is set.
    "seed-coder": Family(
        "spm_marked",
        prefix="<[fim-prefix]>",
        suffix="<[fim-suffix]>",
        middle="<[fim-middle]>",
        end="<[end▁of▁sentence]>",
    ),
    # The default base model, which was never trained to fill in the middle; the layout was chosen by measuring
    # (docs/decisions/0002-fim-layout.md). Its tokenizer has names for more than its training text used: <gh_stars>,
    # <issue_start> and <issue_comment> become the markers.
    "smollm2": Family(
        "spm",
        *_PIPED,
        end="<|endoftext|>",
        has=("<|im_start|>", "<repo_name>", "<file_sep>", "<jupyter_script>"),
        repurpose={7: "<|fim_prefix|>", 8: "<|fim_suffix|>", 9: "<|fim_middle|>"},
    ),
}

#: What no source code means, in any family's vocabulary. The tokenizers of Qwen, DeepSeek, CodeGemma and
#: Granite 4 do not declare all of theirs special.
CONTROL_TOKENS = frozenset(text for family in FAMILIES.values() for text in family.tokens)
