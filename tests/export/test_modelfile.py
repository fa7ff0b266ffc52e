from __future__ import annotations

from pathlib import Path

import pytest
from tiny import END, FIM, MIDDLE, PREFIX, SUFFIX
from tokenizers import Tokenizer

from echo_dagster import models
from echo_dagster.export import modelfile
from echo_dagster.export.gguf_file import Exported
from echo_dagster.fim import encode_prompt, fim_format, split_boundary
from echo_dagster.settings import FimTokens

LAYOUTS = {
    "psm": f"{PREFIX}{{{{ .Prompt }}}}{SUFFIX}{{{{ .Suffix }}}}{MIDDLE}",
    "spm": f"{PREFIX}{SUFFIX}{{{{ .Suffix }}}}{MIDDLE}{{{{ .Prompt }}}}",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_template_is_the_layout_that_the_model_was_trained_with(tiny_model_dir, layout):
    """Filled in and read as llama.cpp reads a prompt, it is the prompt's ids."""
    fim = FIM.model_copy(update={"layout": layout})
    tokenizer = models.load_tokenizer(tiny_model_dir)
    template = modelfile.template(tokenizer, fim)
    assert template == LAYOUTS[layout]
    prefix, suffix = "def total(prices):\n    ret", "\nclass Order:\n"
    text = template.replace("{{ .Prompt }}", split_boundary(prefix)[0]).replace("{{ .Suffix }}", suffix)
    markers_read = Tokenizer.from_file(str(tiny_model_dir / "tokenizer.json"))
    expected, _ = encode_prompt(fim_format(fim, tokenizer), tokenizer, prefix, suffix)
    assert markers_read.encode(text, add_special_tokens=False).ids == expected


def test_every_layout_has_a_template(tiny_model_dir):
    for layout in FimTokens.model_fields["layout"].annotation.__args__:
        middle = None if layout == "spm_bare" else MIDDLE
        fim = FimTokens.model_validate({**FIM.model_dump(), "layout": layout, "middle": middle})
        template = modelfile.template(models.load_tokenizer(tiny_model_dir), fim)
        assert [template.count(part) for part in ("{{ .Prompt }}", "{{ .Suffix }}", PREFIX, SUFFIX)] == [
            1
        ] * 4


def test_what_llama_cpp_puts_before_a_prompt_is_not_in_the_template(tiny_model_dir):
    tokenizer = models.load_tokenizer(tiny_model_dir)
    with_start = FIM.model_copy(update={"start": END})
    assert modelfile.template(tokenizer, with_start) == modelfile.template(tokenizer, FIM)


@pytest.mark.parametrize(("max_tokens", "window"), [(256, 256), (4096, 512)])
def test_the_modelfile_answers_greedily_in_the_models_window(tiny_model_dir, tmp_path, max_tokens, window):
    done = Exported(tmp_path / "tiny.f16.gguf", "tiny", "0" * 16, 512, 20, 1)
    path = modelfile.write(done, tiny_model_dir, FIM, max_tokens)
    assert path == tmp_path / "tiny.f16.Modelfile"
    assert path.read_text() == (
        "FROM ./tiny.f16.gguf\n"
        'TEMPLATE """{{ if .Suffix }}<|fim_prefix|><|fim_suffix|>{{ .Suffix }}<|fim_middle|>{{ .Prompt }}'
        '{{ else }}{{ .Prompt }}{{ end }}"""\n'
        "PARAMETER temperature 0\n"
        "PARAMETER repeat_penalty 1\n"
        f"PARAMETER num_ctx {window}\n"
        'PARAMETER stop "<|endoftext|>"\n'
        'PARAMETER stop "<|fim_prefix|>"\n'
        'PARAMETER stop "<|fim_suffix|>"\n'
        'PARAMETER stop "<|fim_middle|>"\n'
    )
    assert [file.name for file in Path(tmp_path).iterdir()] == ["tiny.f16.Modelfile"]
