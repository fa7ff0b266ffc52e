"""Names of documents: a home directory never stays, and a folder of the repository always does."""

import pytest

from echo_dagster.acquisition.places import document


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("C:\\Users\\sam\\app\\a.ts", "~/app/a.ts"),
        ("C:\\\\Users\\\\sam\\\\app\\\\a.ts", "~/app//a.ts"),
        ('"C:\\\\Users\\\\sam\\\\a.ts"', '~/a.ts"'),
        (" /home/sam/a.ts", "~/a.ts"),
        ("(/home/sam/a.ts)", "~/a.ts)"),
        ("./../home/sam/a.ts", "~/a.ts"),
        ("../../home/sam/a.ts", "~/a.ts"),
        ("file:///home/sam/my%20a.ts", "~/my a.ts"),
        ("vscode-remote://ssh/home/sam/a.ts", "~/a.ts"),
        ("//server/Users/sam/a.ts", "~/a.ts"),
        ("src/users/alex/a.ts", "src/users/alex/a.ts"),
        ("./home/page/a.ts", "./home/page/a.ts"),
        ("home/page/a.ts", "home/page/a.ts"),
        ("[id]/users/edit/a.ts", "[id]/users/edit/a.ts"),
        ("/opt/app/a.ts", "/opt/app/a.ts"),
        ("a.ts", "a.ts"),
    ],
)
def test_a_home_directory_never_stays(path, kept):
    assert document(path) == kept
