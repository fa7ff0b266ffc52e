import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_dagster.extraction.imports import only_imports_differ

CODE = "\nclass A:\n    def b(self):\n        return "


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ("import os\n", "import os\nimport sys\n"),
        ("import os\nimport sys\n", "import sys\n"),
        ("", "from a.b import c\n\n"),
        ("from a import b\n", "from a import b, c\n"),
        ("from a import (\n    b,\n)\n", "from a import (\n    b,\n    c,\n)\n"),
        ('import { a } from "./a";\n', 'import { a, b } from "./a";\nimport type { C } from "c";\n'),
        ('import {\n  a,\n} from "a";\n', 'import {\n  a,\n  b,\n} from "a";\n'),
        ("const a = require('a');\n", "const a = require('a');\nconst { b } = require('b');\n"),
        ("#include <a.h>\n", '#include <a.h>\n#include "b.h"\n'),
        ("using System;\n", "using System;\nusing System.Linq;\n"),
        ("use std::fmt;\n", "use std::fmt;\nuse std::io::{self, Read};\n"),
        ('import (\n\t"fmt"\n)\n', 'import (\n\t"fmt"\n\t"os"\n)\n'),
        ("# a\nimport os\n\n# b\nimport c\n", "# a\nimport os\nimport re\n\n# b\nimport c\nimport d\n"),
    ],
)
@pytest.mark.parametrize("is_cut", [True, False])
def test_imports_added_removed_or_edited(old, now, is_cut):
    assert only_imports_differ(old + CODE, now + CODE, is_cut=is_cut)
    assert only_imports_differ(now + CODE, old + CODE, is_cut=is_cut)


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ("import os\n", "import os\nx = 1\n"),
        ("import os\n", "import os\n# a comment\n"),
        ("import os\nx = 1\n", "import os\nimport sys\nx = 2\n"),
        ("import os\n", "importance = 3\n"),
        ("#include <a.h>\n", "#include <a.h>\n#define B 1\n"),
        ("using System;\n", "using System;\nusing (var file = Open()) {\n"),
        ("from a import (\n    b,\n)\n", "from a import (\n    b,\n)\n    c,\n"),
        ("x = {\n  a,\n}\n", "x = {\n  a,\n  b,\n}\n"),
    ],
)
def test_anything_else(old, now):
    assert not only_imports_differ(old + CODE, now + CODE, is_cut=False)
    assert not only_imports_differ(now + CODE, old + CODE, is_cut=False)


def test_windows_that_begin_at_different_places_are_compared_where_both_reach():
    lines = "".join(f"value_{number} = {number}\n" for number in range(20))
    old, now = lines + "import os\n" + CODE, lines + "import os\nimport sys\n" + CODE
    assert only_imports_differ(old[5:], now[5 + len("import sys\n") :], is_cut=True)
    assert only_imports_differ(old[50:], now, is_cut=True)
    changed = now.replace("value_15", "other_15")
    assert not only_imports_differ(old[5:], changed[16:], is_cut=True)
    assert not only_imports_differ(old[5:], now[16:], is_cut=False)


def test_a_difference_far_below_the_top_of_the_file_is_none_of_imports():
    lines = "".join(f"value_{number} = {number}\n" for number in range(2_000))
    assert not only_imports_differ(lines + "import os\n" + CODE, lines + CODE, is_cut=False)


@given(st.lists(st.sampled_from(["import a", "x = 1", "", "from b import c", "def f():"]), max_size=8))
def test_a_text_differs_from_itself_in_nothing(lines):
    text = "\n".join(lines)
    assert only_imports_differ(text, text, is_cut=False)
    assert only_imports_differ(text, "import new\n" + text, is_cut=False)
